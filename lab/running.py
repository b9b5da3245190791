"""The object that a user of a running lab holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from lab import servers
from lab.backends.base import Backend, RunningLab
from lab.backends.netns.client import NetnsBackend
from lab.capture import Capture, arm_all
from lab.errors import UsageError
from lab.faults.model import Fault, FaultState
from lab.node import Node
from lab.plan.model import Plan
from lab.process import Process
from lab.services import start_all


class Lab:
    """A running lab: `lab["web"]` is a node. Leaving it as a context manager takes it down."""

    def __init__(self, running: RunningLab, own_backend: Backend | None = None) -> None:
        """`own_backend` is one that nobody else uses, to be closed with the lab."""
        self.plan: Plan = running.plan
        self.backend = running
        self.captures: list[Capture] = []
        self.processes: list[Process] = []
        self.notes: dict[str, Callable[[], str]] = {}  # files to keep beside the captures: what tells their text
        self.faulty: dict[str, str] = {}  # a fault by the reference program that is to have it; see `program`
        self._own_backend = own_backend

    @classmethod
    def up(cls, plan: Plan, backend: Backend | None = None, **options: Any) -> Self:
        """Build a lab and return once it is usable.

        Args:
            backend: one to use for many labs, which is quicker; the namespaces backend by default.
            options: see `lab.backends.base.Backend.up`.

        Raises:
            LabError: it could not be built; nothing is left of it.
        """
        if any(node.services for node in plan.nodes):
            options["settle"] = start_all
        if backend is not None:
            return cls(backend.up(plan, **options))
        own = NetnsBackend()
        try:
            return cls(own.up(plan, **options), own)
        except BaseException:
            own.close()
            raise

    @property
    def name(self) -> str:
        """What other commands find the lab by."""
        return self.plan.name

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes by name, in the file's order."""
        return {node.name: Node(self, node) for node in self.plan.nodes}

    def __getitem__(self, name: str) -> Node:
        try:
            return self.nodes[name]
        except KeyError:
            msg = f'no node named "{name}"; lab "{self.name}" has {", ".join(self.nodes)}'
            raise UsageError(msg) from None

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def capture(self, *targets: str, expression: str = "") -> Capture:
        """Return a capture of "NODE:INTERFACE" or "NODE" targets, of every interface of the lab without any.

        Args:
            expression: a filter in tcpdump's language.

        Raises:
            UsageError: when it is entered: no such node or interface.
        """
        chosen = self.targets(*(targets or self.nodes))
        capture = Capture(lambda: arm_all(self.backend, chosen, expression), self.backend.watch)
        self.captures.append(capture)
        return capture

    def program(self, name: str) -> str:
        """Return the path of one of the project's programs, of its faulty variant if a mutant has asked for that.

        Raises:
            MissingToolError: it is not built.
        """
        return servers.program(name, self.faulty.get(name, ""))

    def targets(self, *targets: str) -> list[tuple[str, str]]:
        """Return (node, interface) of "NODE:INTERFACE" and "NODE" targets; the latter means all of the node's.

        Raises:
            UsageError: no such node.
        """
        found = []
        for target in targets:
            name, _, interface = target.partition(":")
            node = self[name]
            found += [(name, interface)] if interface else [(name, planned.name) for planned in node.plan.interfaces]
        return found

    def cut(self, *targets: str, carrier: bool = False) -> None:
        """Let nothing pass there any more, as if a cable were broken inside; nobody is told.

        Args:
            targets: "NODE:INTERFACE", a node, or a network; two of them mean what is between: two nodes that share
                a network, or a node and a network. See `lab.faults.places`.
            carrier: let the nodes' interfaces notice, as when a plug is pulled.

        Raises:
            UsageError: the lab has nothing of that name, or the two do not meet.
        """
        self.backend.fault(Fault("cut", targets, carrier))

    def partition(self, *groups: Sequence[str]) -> None:
        """Part groups of nodes: on no network does one of one group reach one of another.

        Raises:
            UsageError: there is no such node, or no network that groups share.
        """
        self.backend.fault(Fault("partition", tuple(",".join(group) for group in groups)))

    def restore(self, *targets: str | Sequence[str]) -> None:
        """Undo the cut of these targets, or the partition of these groups; without any, undo all.

        Raises:
            UsageError: a cut of other targets keeps these apart.
        """
        words = tuple(target if isinstance(target, str) else ",".join(target) for target in targets)
        self.backend.fault(Fault("restore", words))

    def start_timeline(self) -> int:
        """Let the file's timeline begin now; return how many events it has.

        `lab up` starts it by itself. A test does when it is ready, with its captures armed, say.

        Raises:
            UsageError: it has begun already.
        """
        return self.backend.start_timeline()

    def faults(self) -> FaultState:
        """Return what is cut and killed now, and the marks of what was done."""
        return self.backend.faults()

    def down(self) -> None:
        """Take the lab down and return when nothing of it is left."""
        with ExitStack() as ending:  # all of it, whatever fails on the way
            if self._own_backend:
                ending.callback(self._own_backend.close)
            ending.callback(self.backend.down)
            for process in self.processes:
                ending.callback(process.close)
            self.processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
