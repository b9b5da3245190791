"""What a backend does: turn a Plan into something that runs, and reach into it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lab.faults.model import Fault, FaultState, Mark
from lab.plan.model import Impairment, Plan

if TYPE_CHECKING:
    from lab.link.instrument import Link


@dataclass(frozen=True, slots=True)
class LabFacts:
    """What `lab ls` tells of a running lab.

    Attributes:
        since: seconds since the epoch.
        owner: process id on this machine.
        source: the topology file.
    """

    name: str
    backend: str
    since: float
    owner: int
    rootless: bool
    source: str
    nodes: int


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """How a service is.

    Attributes:
        pid: process id, as the lab's own /proc shows it.
        exit_code: as `RunningProcess.wait` returns it; None while it runs.
        stopped: whether somebody has asked it to end.
    """

    node: str
    name: str
    pid: int
    exit_code: int | None
    stopped: bool


class RunningProcess(Protocol):
    """A program started in a node."""

    @property
    def pid(self) -> int:
        """The process id, as the lab's own /proc shows it."""

    def wait(self, timeout: float | None) -> int | None:
        """Return the exit code (negative: the signal that ended it), or None if it still runs after `timeout` s."""

    def signal(self, number: int) -> None:
        """Send a signal to the program and all in its process group; nothing if it has ended."""

    def close(self) -> None:
        """Let go of it, running or not."""


class MarkFeed(Protocol):
    """Marks of what is done to a lab, as it is done.

    Attributes:
        ended: whether the lab is down, so that nothing will come any more.
    """

    ended: bool

    def fileno(self) -> int:
        """A descriptor to poll; readable when there is something to read."""

    def read(self) -> list[Mark]:
        """Return the marks since the last call; those of all that was done before this call are among them."""

    def close(self) -> None:
        """End it."""


class RunningLab(Protocol):
    """A lab that is up, as its client holds it."""

    @property
    def plan(self) -> Plan:
        """What was built."""

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
    ) -> RunningProcess:
        """Start a program in a node, in a session of its own.

        Args:
            files: descriptors for stdin, stdout and stderr; they stay the caller's.
            service: a name by which others find the program again.
            unprivileged: the program is not to be root, nor to have any of its powers; the files that `write`
                makes are its own all the same.

        Raises:
            UsageError: no such node or program.
        """

    def find(self, node: str, program: str, path: str) -> str | None:
        """Return the path of a program as the node sees it; None if it is nowhere.

        Args:
            path: where to look, as in the variable PATH.

        Raises:
            UsageError: no such node.
        """

    def socket(self, node: str, family: int, kind: int, protocol: int = 0, *, receive_buffer: int = 0) -> socket.socket:
        """Return a socket of the node's network namespace, for the caller to use.

        Args:
            receive_buffer: bytes to ask for; 0 leaves the default.
        """

    def sysctl(self, node: str, key: str, value: str | None = None) -> str:
        """Return a sysctl of the node, after setting it if there is a `value`."""

    def impair(self, node: str, interface: str, out: Impairment | None, incoming: Impairment | None) -> None:
        """Change what happens on an interface, from the next frame on; it replaces what there was.

        Args:
            interface: by the name it has in the node, "eth0".
            out: of the frames that the node sends; None takes it away.
            incoming: of those that it is sent.

        Raises:
            UsageError: no such node or interface.
            NotSupportedError: this kernel cannot do it on an interface that is no wire.
        """

    def link(self, node: str, interface: str) -> Link:
        """Return the programmable wire of an interface; this process carries its frames from now on.

        Raises:
            UsageError: it is no wire, or another program has the lab's wires.
        """

    @property
    def folder(self) -> Path:
        """A folder of this machine that goes with the lab, for what is kept of it meanwhile."""

    @property
    def source(self) -> str:
        """The topology file; empty if there is none."""

    def write(self, node: str, files: Mapping[str, str]) -> None:
        """Write files, by path, and the folders that they are in; readable to the node's root alone.

        Raises:
            UsageError: no such node, or a path outside of the folders that each node has for itself: /run, /tmp.
        """

    def services(self) -> list[ServiceStatus]:
        """Return how every service is that was started, in that order."""

    def follow(self, node: str, service: str) -> RunningProcess:
        """Return the program of a service.

        Raises:
            UsageError: none of that name was started.
        """

    def respawn(self, node: str, service: str) -> RunningProcess:
        """Start a service that has ended once more, just as it was started before.

        Raises:
            UsageError: none of that name was started, or it still runs.
        """

    def fault(self, fault: Fault) -> bool:
        """Do something to the lab; return whether that changed anything.

        `impair` has a method of its own.

        Raises:
            UsageError: the lab has nothing of that name, or it cannot be done there.
            NotSupportedError: this machine's kernel cannot.
        """

    def faults(self) -> FaultState:
        """Return what is wrong with the lab now, and what was done to it."""

    def start_timeline(self) -> int:
        """Let the plan's timeline begin; return how many events it has.

        Raises:
            UsageError: it has begun already.
        """

    def watch(self) -> MarkFeed:
        """Return what tells of everything that is done to the lab from now on; the caller closes it."""

    def processes(self) -> list[dict[str, Any]]:
        """Return what runs: {pid, node, command}."""

    def entrance(self, node: str) -> tuple[str, ...]:
        """Return a command line to put in front of a program's own, so that it runs in the node.

        The program stays in the caller's terminal and session, and its exit code is the command's.
        """

    def down(self, timeout: float = 30.0) -> None:
        """Take the lab down and return when nothing of it is left.

        Args:
            timeout: seconds, after which its owner is killed outright.
        """


class Backend(Protocol):
    """A way to run labs."""

    @property
    def name(self) -> str:
        """As in `--backend`."""

    def up(
        self,
        plan: Plan,
        *,
        source: str = "",
        detached: bool = False,
        shared: Sequence[Path] = (),
        on_step: Callable[[str], None] | None = None,
        settle: Callable[[RunningLab], None] = lambda _lab: None,
    ) -> RunningLab:
        """Build the lab and return once it is usable; nothing is left of one that cannot be built.

        Args:
            source: the topology file, for people.
            detached: the lab outlives its client.
            shared: folders that nodes are to see although they lie where nodes have folders of their own (/tmp, /run).
            on_step: called with the name of each step before it is taken; to tell of them takes some time.
            settle: called with the lab when it is built, to start what belongs to it; if it fails, or its caller
                is killed meanwhile, nothing is left of the lab.

        Raises:
            LabExistsError: a lab of that name is up.
            NotSupportedError: this machine or user cannot run it.
            BackendError: it could not be built.
        """

    def running(self) -> list[LabFacts]:
        """Return this user's labs that are up."""

    def attach(self, name: str) -> RunningLab:
        """Return a lab that is up already.

        Raises:
            UsageError: there is none of that name.
        """

    def close(self) -> None:
        """Give back what the backend itself holds."""
