"""The client's side of backends whose labs have owners: asks the nursery for labs, and finds those that are up."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lab import command
from lab.backends.base import LabFacts, RunningLab
from lab.backends.owned import messages, registry
from lab.backends.owned.birth import Birth
from lab.backends.owned.handle import OwnedLab
from lab.errors import BackendError, NotSupportedError, UsageError
from lab.plan.model import Plan

_FACTS = ("name", "backend", "since", "owner", "rootless", "source", "nodes")
_MOST_PORTS = 1023  # BR_MAX_PORTS of the kernel, less the one that it does not use


def running() -> list[LabFacts]:
    """Return this user's labs that are up, of every such backend."""
    found = []
    for name in registry.names():
        try:
            facts = registry.owner_of(name)
        except UsageError:
            continue  # it went down just now
        if facts.keys() >= set(_FACTS):  # else it is only just coming up
            found.append(LabFacts(**{key: facts[key] for key in _FACTS}))
    return found


def attach(name: str) -> OwnedLab:
    """Return a lab that is up already, whichever such backend it is of.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in registry.names():
        raise registry.no_such_lab(name)
    return OwnedLab(name)


class OwnedBackend(ABC):
    """See `lab.backends.base.Backend`.

    Attributes:
        name: the backend's package has a `nursery`.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self._nursery: tuple[subprocess.Popen[bytes], socket.socket] | None = None

    def prepare(self) -> None:
        """Start the nursery now, so that it is warm when the first lab is asked for."""
        if self._nursery is None:
            ours, theirs = messages.pair()
            with theirs:
                # -P: the folder that a user stands in is no place to import from.
                arguments = [sys.executable, "-P", "-m", f"lab.backends.{self.name}.nursery", str(theirs.fileno())]
                self._nursery = command.start(arguments, keep_open=[theirs.fileno()]), ours

    @abstractmethod
    def seen_of(self, shared: Sequence[Path]) -> list[str]:
        """Return those of the shared folders that it takes something to let a node see."""

    def up(
        self,
        plan: Plan,
        *,
        source: str = "",
        detached: bool = False,
        shared: Sequence[Path] = (),
        on_step: Callable[[str], None] | None = None,
        settle: Callable[[RunningLab], None] = lambda _lab: None,
    ) -> OwnedLab:
        """Build the lab."""
        _refuse_crowds(plan)
        ours, theirs = messages.pair()
        request = {"source": source, "shared": self.seen_of(shared), "steps": on_step is not None}
        with theirs, tempfile.TemporaryFile() as file:
            file.write(plan.to_json().encode())
            file.seek(0)
            self._send(request, [theirs.fileno(), file.fileno()])
        birth = Birth(ours)
        try:
            birth.follow(on_step)
            settle(OwnedLab(plan.name, plan))
            lifeline = birth.survive(detached=detached)
        except messages.ConnectionLostError as error:
            birth.abandon()
            msg = f'lab "{plan.name}": its owner ended before the lab was up'
            raise BackendError(msg) from error
        except BaseException:
            birth.abandon()
            raise
        return OwnedLab(plan.name, plan, lifeline)

    def _send(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Ask the nursery; one that has died meanwhile is replaced once."""
        for _attempt in range(2):
            self.prepare()
            assert self._nursery  # noqa: S101 - prepare has just made it
            try:
                messages.send(self._nursery[1], request, descriptors)
            except messages.ConnectionLostError:
                self.close()
            else:
                return
        msg = "the process that starts labs cannot be started; `lab doctor` looks for the reason"
        raise BackendError(msg)

    def running(self) -> list[LabFacts]:
        """Return this user's labs that are up."""
        return running()

    def attach(self, name: str) -> OwnedLab:
        """Return a lab that is up already."""
        return attach(name)

    def collect(self) -> None:  # noqa: B027 - not every backend has something to do
        """Clear away what labs of this backend have left that went without their owners and guards.

        The folders of such labs go with the next command of any kind.

        Raises:
            LabError: it cannot be cleared away.
        """

    def close(self) -> None:
        """End the nursery; labs that are not detached end with their clients, not with it."""
        if self._nursery:
            process, channel = self._nursery
            channel.close()
            process.wait()
            self._nursery = None


def _refuse_crowds(plan: Plan) -> None:
    """Refuse what a Linux bridge cannot do, before anything is built.

    Raises:
        NotSupportedError: more interfaces on a network than a bridge has ports.
    """
    ports = Counter(interface.network for node in plan.nodes for interface in node.interfaces)
    for network, count in ports.items():
        if count > _MOST_PORTS:
            msg = f'network "{network}": {count} interfaces, but a bridge has {_MOST_PORTS} ports; split it by a router'
            raise NotSupportedError(msg)
