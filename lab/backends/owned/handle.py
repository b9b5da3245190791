"""A running lab, as its clients hold it: every call is a request to its owner."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.backends.base import ServiceStatus
from lab.backends.owned import ending, messages, registry
from lab.backends.owned.asking import ask, closes
from lab.backends.owned.feed import OwnedFeed
from lab.backends.owned.process import OwnedProcess
from lab.errors import BackendError
from lab.faults.model import Fault, FaultState
from lab.plan.model import Impairment, Plan

if TYPE_CHECKING:
    from lab.backends.owned.borrowed import BorrowedWires
    from lab.link.instrument import Link

_OBEYS_WITHIN = 5.0  # seconds


class OwnedLab:
    """See `lab.backends.base.RunningLab`."""

    def __init__(self, name: str, plan: Plan | None = None, lifeline: socket.socket | None = None) -> None:
        """Hold on to a lab.

        Args:
            plan: if it is known; it is read from the lab's folder otherwise.
            lifeline: the channel that the lab was asked for on; a lab that is not detached ends with it.
        """
        self.name = name
        self._plan = plan
        self._lifeline = lifeline
        self._borrowed: BorrowedWires | None = None

    @cached_property
    def plan(self) -> Plan:
        """What was built."""
        return self._plan or registry.plan_of(self.name)

    @property
    def folder(self) -> Path:
        """The lab's folder."""
        return registry.root() / self.name

    @cached_property
    def source(self) -> str:
        """The topology file."""
        return str(registry.owner_of(self.name)["source"])

    def spawn(
        self,
        node: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        files: tuple[int, int, int],
        service: str = "",
        unprivileged: bool = False,
    ) -> OwnedProcess:
        """Start a program in a node."""
        request = {
            "do": "spawn",
            "node": node,
            "arguments": list(arguments),
            "environment": dict(environment),
            "cwd": str(cwd),
            "service": service,
            "unprivileged": unprivileged,
        }
        return self._process(request, files)

    def follow(self, node: str, service: str) -> OwnedProcess:
        """Return the program of a service."""
        return self._process({"do": "follow", "node": node, "service": service})

    def respawn(self, node: str, service: str) -> OwnedProcess:
        """Start a service that has ended once more."""
        return self._process({"do": "respawn", "node": node, "service": service})

    def services(self) -> list[ServiceStatus]:
        """Return how every service is."""
        return [ServiceStatus(**status) for status in self._request({"do": "services"}).body["services"]]

    def write(self, node: str, files: Mapping[str, str]) -> None:
        """Write files into the node's own folders."""
        self._request({"do": "write", "node": node, "files": dict(files)})

    def _process(self, request: dict[str, Any], files: Sequence[int] = ()) -> OwnedProcess:
        connection = registry.connect(self.name)
        try:
            answer = ask(connection, request, files)
        except BaseException:
            connection.close()
            raise
        return OwnedProcess(connection, answer.body["pid"], answer.body.get("exit"))

    def find(self, node: str, program: str, path: str) -> str | None:
        """Return the path of a program as the node sees it."""
        found: str | None = self._request({"do": "find", "node": node, "program": program, "path": path}).body["found"]
        return found

    def socket(self, node: str, family: int, kind: int, protocol: int = 0, *, receive_buffer: int = 0) -> socket.socket:
        """Return a socket of the node's network namespace."""
        answer = self._request(
            {
                "do": "socket",
                "node": node,
                "family": family,
                "type": kind,
                "protocol": protocol,
                "receive_buffer": receive_buffer,
            }
        )
        return socket.socket(fileno=answer.descriptors[0])

    def sysctl(self, node: str, key: str, value: str | None = None) -> str:
        """Return a sysctl of the node, after setting it if there is a value."""
        answer = self._request({"do": "sysctl", "node": node, "key": key, "value": value})
        return str(answer.body["value"])

    def fault(self, fault: Fault) -> bool:
        """Do something to the lab; return whether that changed anything."""
        return bool(self._request({"do": "fault", "fault": asdict(fault)}).body["changed"])

    def faults(self) -> FaultState:
        """Return what is wrong with the lab now."""
        return FaultState.from_data(self._request({"do": "faults"}).body["faults"])

    def start_timeline(self) -> int:
        """Let the plan's timeline begin."""
        return int(self._request({"do": "timeline"}).body["events"])

    def watch(self) -> OwnedFeed:
        """Return what tells of everything that is done to the lab."""
        connection = registry.connect(self.name)
        try:
            ask(connection, {"do": "watch"})
        except BaseException:
            connection.close()
            raise
        return OwnedFeed(connection)

    def impair(self, node: str, interface: str, out: Impairment | None, incoming: Impairment | None) -> None:
        """Change what happens on an interface, and return when it has changed."""
        directions = {"out": out and asdict(out), "incoming": incoming and asdict(incoming)}
        answer = self._request({"do": "impair", "node": node, "interface": interface, **directions})
        try:
            if not all(closes(done, _OBEYS_WITHIN) for done in answer.descriptors):
                msg = f"{node}:{interface}: the program that carries the wire's frames does not listen"
                raise BackendError(msg)
        finally:
            for done in answer.descriptors:
                os.close(done)

    def link(self, node: str, interface: str) -> Link:
        """Return a wire, to be programmed from here: all wires of the lab are carried by this process from now on."""
        if self._borrowed is None or self._borrowed.has_ended:
            from lab.backends.owned.borrowed import BorrowedWires  # noqa: PLC0415 - few labs have wires to program

            connection = registry.connect(self.name)
            try:
                self._borrowed = BorrowedWires(connection, ask(connection, {"do": "wires"}))
            except BaseException:
                connection.close()
                raise
        return self._borrowed.link(node, interface)

    def processes(self) -> list[dict[str, Any]]:
        """Return what runs in the nodes."""
        found: list[dict[str, Any]] = self._request({"do": "processes"}).body["processes"]
        return found

    def entrance(self, node: str) -> tuple[str, ...]:
        """Return the command line that leads into the node."""
        script = self.folder / registry.ENTRANCE
        if not script.exists():
            raise registry.not_ready(self.name)
        # By name: where labs have their folders, distributions let no file be executed.
        return ("/bin/sh", str(script), node)

    def down(self, timeout: float = 30.0) -> None:
        """Take the lab down, also one that is only coming up; return when nothing of it is left."""
        try:
            ending.end(self.name, timeout)
        finally:
            if self._borrowed:
                self._borrowed.close()
            if self._lifeline:
                self._lifeline.close()

    def _request(self, body: dict[str, Any]) -> messages.Message:
        with registry.connect(self.name) as connection:
            return ask(connection, body)
