"""The services of a lab, as its owner remembers them: who asked for them is gone when the next one asks."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.backends.base import ServiceStatus
from lab.errors import UsageError

Key = tuple[str, str]
"""(node, service)"""

_ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGQUIT}


@dataclass(slots=True)
class Service:
    """One service.

    Attributes:
        request: what it was started by, to start it so again.
        descriptors: its stdin, stdout and stderr, for the same.
        pid: as the owner sees it.
        shown: as its node does.
        lost: it ran when its node was killed.
        followers: connections that want to hear of its end, besides the one that it was started on.
    """

    request: dict[str, Any]
    descriptors: tuple[int, ...]
    pid: int
    shown: int
    exit_code: int | None = None
    stopped: bool = False
    lost: bool = False
    followers: list[socket.socket] = field(default_factory=list)


@dataclass(slots=True)
class Services:
    """All of a lab's."""

    by_key: dict[Key, Service] = field(default_factory=dict)

    def remember(self, request: dict[str, Any], descriptors: tuple[int, ...], pid: int, shown: int) -> None:
        """Note that a service has started; the descriptors are copied."""
        copies = tuple(map(os.dup, descriptors))
        key = request["node"], request["service"]
        if key in self.by_key:
            for descriptor in self.by_key[key].descriptors:
                os.close(descriptor)
        self.by_key[key] = Service(request, copies, pid, shown)

    def get(self, body: dict[str, Any]) -> Service:
        """Return the service that a request is about.

        Raises:
            UsageError: it was never started; names those that were.
        """
        try:
            return self.by_key[body["node"], body["service"]]
        except KeyError:
            started = ", ".join(name for node, name in self.by_key if node == body["node"]) or "none"
            msg = f'{body["node"]}: no service "{body["service"]}" was started here (services: {started})'
            raise UsageError(msg) from None

    def ended(self, request: dict[str, Any]) -> Service:
        """Return the service that a request is about, to start it again.

        Raises:
            UsageError: it was never started, or runs.
        """
        service = self.get(request)
        if service.exit_code is None:
            msg = f'{request["node"]}: service "{request["service"]}" runs already'
            raise UsageError(msg)
        return service

    def note_end(self, pid: int, exit_code: int) -> list[socket.socket]:
        """Note that a process has ended; return who follows it, if it was a service.

        What it leaves running of its process group ends with it.
        """
        for service in self.by_key.values():
            if service.pid == pid and service.exit_code is None:
                service.exit_code = exit_code
                kill_group(pid, signal.SIGKILL)
                return service.followers
        return []

    def signal(self, pids: set[int], number: int, follower: socket.socket) -> set[int]:
        """Note a signal to processes, and return those that it is for: these, and the one that is followed."""
        for service in self.by_key.values():
            if service.exit_code is None and (service.pid in pids or follower in service.followers):
                service.stopped = service.stopped or number in _ENDING
                pids = pids | {service.pid}
        return pids

    def lose_power(self, node: str) -> None:
        """Note that the node's services end, and not by themselves; `take_lost` returns them once."""
        for (of_node, _name), service in self.by_key.items():
            if of_node == node and service.exit_code is None:
                service.stopped = service.lost = True

    def take_lost(self, node: str) -> list[Service]:
        """Return the services that ran when the node lost its power, in the order in which they were started."""
        lost = [service for (of_node, _name), service in self.by_key.items() if of_node == node and service.lost]
        for service in lost:
            service.lost = False
        return lost

    def status(self) -> list[dict[str, Any]]:
        """Return the `ServiceStatus` of each, as plain data."""
        return [
            asdict(ServiceStatus(node, name, service.shown, service.exit_code, service.stopped))
            for (node, name), service in self.by_key.items()
        ]


def kill_group(pid: int, number: int) -> None:
    """Signal a process group; nothing if all of it has ended."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
