"""What a backend does: turn a Plan into something that runs, and reach into it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lab.plan.model import Plan


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


class RunningProcess(Protocol):
    """A program started in a node."""

    @property
    def pid(self) -> int:
        """The process id, as the lab's own /proc shows it."""

    def wait(self, timeout: float | None) -> int | None:
        """Return the exit code (negative: the signal that ended it), or None if it still runs after `timeout` s."""

    def signal(self, number: int) -> None:
        """Send a signal to the program and all in its process group; nothing if it has ended."""


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
    ) -> RunningProcess:
        """Start a program in a node, in a session of its own.

        Args:
            files: descriptors for stdin, stdout and stderr; they stay the caller's.

        Raises:
            UsageError: no such node or program.
        """

    def socket(self, node: str, family: int, kind: int, protocol: int = 0, *, receive_buffer: int = 0) -> socket.socket:
        """Return a socket of the node's network namespace, for the caller to use.

        Args:
            receive_buffer: bytes to ask for; 0 leaves the default.
        """

    def sysctl(self, node: str, key: str, value: str | None = None) -> str:
        """Return a sysctl of the node, after setting it if there is a `value`."""

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
        on_step: Callable[[str], None] = lambda _step: None,
    ) -> RunningLab:
        """Build the lab and return once it is usable; nothing is left of one that cannot be built.

        Args:
            source: the topology file, for people.
            detached: the lab outlives its client.
            shared: folders that nodes are to see although they lie where nodes have folders of their own (/tmp, /run).
            on_step: called with the name of each step before it is taken.

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
