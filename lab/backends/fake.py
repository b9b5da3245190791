"""Labs in memory, for tests of what stands on a backend: no root, no kernel, no time passes.

backend = FakeBackend({("cat", "notes"): Answer(stdout="some text")})
lab = Lab.up(plan, backend)
lab["left"].run("cat", "notes").stdout  # "some text"; backend.record tells all that was done
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lab.backends.base import LabFacts, RunningLab, ServiceStatus
from lab.errors import BackendError, LabExistsError, NotSupportedError, UsageError
from lab.faults.model import Fault, FaultState, Mark
from lab.plan.model import Impairment, Plan


@dataclass(frozen=True, slots=True)
class Call:
    """How a program was started."""

    node: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    stdin: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program does.

    Attributes:
        exit_code: None for a program that runs until a signal ends it that it does not ignore.
    """

    exit_code: int | None = 0
    stdout: str = ""
    stderr: str = ""
    ignores: frozenset[int] = frozenset()


Program = Answer | Callable[[Call], Answer]


@dataclass(slots=True)
class FakeProcess:
    """See `lab.backends.base.RunningProcess`."""

    pid: int
    call: Call
    exit_code: int | None
    ignores: frozenset[int]

    def wait(self, timeout: float | None) -> int | None:
        """Return the exit code, or None at once: it will not end by itself, however long one waits."""
        if self.exit_code is None and timeout is None:
            raise BackendError(f"{self.call.node}: nothing will end {' '.join(self.call.arguments)}")
        return self.exit_code

    def signal(self, number: int) -> None:
        """End the program, unless it ignores the signal or has ended."""
        if self.exit_code is None and (number == signal.SIGKILL or number not in self.ignores):
            self.exit_code = -number

    def close(self) -> None:
        """There is nothing to give back."""


class FakeMarks:
    """See `lab.backends.base.MarkFeed`: one that never has any."""

    def __init__(self) -> None:
        self.ended = False
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return a descriptor that never becomes readable."""
        return self._descriptor

    def read(self) -> list[Mark]:
        """Return no marks."""
        return []

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


@dataclass(slots=True)
class FakeLab:
    """See `lab.backends.base.RunningLab`."""

    plan: Plan
    backend: FakeBackend
    source: str
    sysctls: dict[str, dict[str, str]]
    since: float = field(default_factory=time.time)
    started: list[FakeProcess] = field(default_factory=list)

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
    ) -> FakeProcess:
        """Look the program up, and write what it says."""
        how = [*([f"service {service}"] if service else []), *(["unprivileged"] if unprivileged else [])]
        self._reach(node, "spawn", *arguments, *how)
        program = self.backend.programs.get(tuple(arguments))
        if program is None:
            raise UsageError(f"{node}: cannot run {arguments[0]}: no answer is given to {' '.join(arguments)}")
        with os.fdopen(files[0], "rb", closefd=False) as given:
            call = Call(node, tuple(arguments), dict(environment), cwd, given.read())
        answer = program if isinstance(program, Answer) else program(call)
        os.write(files[1], answer.stdout.encode())
        os.write(files[2], answer.stderr.encode())
        self.started.append(FakeProcess(2 + len(self.started), call, answer.exit_code, answer.ignores))
        return self.started[-1]

    def find(self, node: str, program: str, path: str) -> str | None:
        """Return the path of a program of the machine's."""
        self._reach(node)
        return shutil.which(program, path=path)

    def socket(self, node: str, family: int, kind: int, protocol: int = 0, *, receive_buffer: int = 0) -> socket.socket:
        """Return what the backend was given to open sockets with; without it, refuse."""
        self._reach(node, "socket", str(family), str(kind), str(protocol), str(receive_buffer))
        if self.backend.open_socket is None:
            raise NotSupportedError("a fake lab has no sockets of its own; give FakeBackend an open_socket")
        return self.backend.open_socket(node, family, kind, protocol)

    def sysctl(self, node: str, key: str, value: str | None = None) -> str:
        """Return a sysctl that the plan sets for the node, after changing it if there is a value."""
        self._reach(node, "sysctl", key, *([] if value is None else [value]))
        own = self.sysctls[node]
        if key not in own:
            raise UsageError(f"{node}: sysctl {key}: No such file or directory")
        own[key] = own[key] if value is None else value
        return own[key]

    @property
    def folder(self) -> Path:
        """A folder that is not there: nothing is kept of a lab in memory."""
        return Path("/nonexistent") / self.plan.name

    def write(self, node: str, files: Mapping[str, str]) -> None:
        """Record the files."""
        for path, text in files.items():
            self._reach(node, "write", path, text)

    def services(self) -> list[ServiceStatus]:
        """Return none: programs started as services are like all others here."""
        return []

    def follow(self, node: str, service: str) -> NoReturn:
        """Refuse: there are no services."""
        raise UsageError(f'{node} has no service "{service}"')

    def respawn(self, node: str, service: str) -> NoReturn:
        """Refuse: there are no services."""
        raise UsageError(f'{node} has no service "{service}"')

    def impair(self, node: str, interface: str, out: Impairment | None, incoming: Impairment | None) -> None:
        """Record it."""
        self._reach(node, "impair", interface, repr(out), repr(incoming))

    def link(self, node: str, interface: str) -> NoReturn:
        """Refuse: there are no wires."""
        self._reach(node, "link", interface)
        raise UsageError(f"{node}:{interface} is no wire; a fake lab has none")

    def fault(self, fault: Fault) -> bool:
        """Record it."""
        self.backend.attach(self.plan.name)
        self.backend.record.append(("fault", repr(fault)))
        return True

    def faults(self) -> FaultState:
        """Return that nothing is wrong."""
        return FaultState()

    def start_timeline(self) -> int:
        """Return how many events there are; none will happen."""
        return len(self.plan.timeline)

    def watch(self) -> FakeMarks:
        """Return a feed without marks."""
        return FakeMarks()

    def processes(self) -> list[dict[str, Any]]:
        """Return the programs that wait for a signal."""
        self.backend.attach(self.plan.name)
        waiting = [process for process in self.started if process.exit_code is None]
        return [{"pid": one.pid, "node": one.call.node, "command": list(one.call.arguments)} for one in waiting]

    def entrance(self, node: str) -> NoReturn:
        """Refuse: there is no inside."""
        self._reach(node, "entrance")
        raise NotSupportedError("a fake lab cannot be entered; take a real backend")

    def down(self, timeout: float = 30.0) -> None:
        """End the lab's programs and forget it."""
        self.backend.attach(self.plan.name)
        self.backend.record.append(("down", self.plan.name, f"{timeout:g}"))
        del self.backend.labs[self.plan.name]
        for process in self.started:
            process.signal(signal.SIGKILL)

    def _reach(self, node: str, *done: str) -> None:
        self.backend.attach(self.plan.name)
        if node not in self.sysctls:
            raise UsageError(f'no node named "{node}"; this lab has {", ".join(self.sysctls)}')
        self.backend.record.append((done[0], node, *done[1:]))


@dataclass(slots=True)
class FakeBackend:
    """See `lab.backends.base.Backend`.

    Attributes:
        programs: what each command line answers; others cannot be run.
        open_socket: called with (node, family, kind, protocol) for every socket; None refuses them all.
        failing_step: the step of `up` that fails: "networks" or "node NAME".
        record: what was done, in order: ("up", lab), ("spawn", node, *arguments), ("sysctl", node, key, value)...
    """

    programs: Mapping[tuple[str, ...], Program] = field(default_factory=dict)
    open_socket: Callable[[str, int, int, int], socket.socket] | None = None
    failing_step: str = ""
    record: list[tuple[str, ...]] = field(default_factory=list)
    labs: dict[str, FakeLab] = field(default_factory=dict)
    name: str = "fake"

    def up(
        self,
        plan: Plan,
        *,
        source: str = "",
        detached: bool = False,
        shared: Sequence[Path] = (),
        on_step: Callable[[str], None] | None = None,
        settle: Callable[[RunningLab], None] = lambda _lab: None,
    ) -> FakeLab:
        """Remember the lab."""
        self.record.append(("up", plan.name, *(["detached"] if detached else []), *map(str, shared)))
        if plan.name in self.labs:
            raise LabExistsError(f'a lab named "{plan.name}" is up already')
        for step in ("networks", *(f"node {node.name}" for node in plan.nodes)):
            if on_step:
                on_step(step)
            if step == self.failing_step:
                raise BackendError(f"{step}: fails, as the fake backend was asked to")
        self.labs[plan.name] = FakeLab(plan, self, source, {node.name: dict(node.sysctls) for node in plan.nodes})
        try:
            settle(self.labs[plan.name])
        except BaseException:
            del self.labs[plan.name]
            raise
        return self.labs[plan.name]

    def running(self) -> list[LabFacts]:
        """Return the labs that are up."""
        return [
            LabFacts(name, self.name, lab.since, os.getpid(), rootless=True, source=lab.source, nodes=len(lab.sysctls))
            for name, lab in self.labs.items()
        ]

    def attach(self, name: str) -> FakeLab:
        """Return a lab that is up."""
        if name not in self.labs:
            raise UsageError(f'no lab named "{name}" is up (running: {", ".join(self.labs) or "none"})')
        return self.labs[name]

    def close(self) -> None:
        """There is nothing to give back."""
