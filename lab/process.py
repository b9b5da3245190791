"""A program in a node: started, watched, stopped."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from lab.backends.base import RunningLab, RunningProcess
from lab.errors import CommandError, WaitTimeoutError
from lab.plan.model import PlannedNode

_SHOWN = 2000  # characters of output in an error


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended.

    Attributes:
        exit_code: negative if a signal ended it, as in `subprocess`.
    """

    node: str
    arguments: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    def check(self) -> Self:
        """Return this, or raise if the program failed.

        Raises:
            CommandError: the exit code is not 0; carries the end of what it wrote.
        """
        if self.exit_code:
            said = (self.stderr.strip() or self.stdout.strip() or "it wrote nothing")[-_SHOWN:]
            msg = f"{self.node}: {' '.join(self.arguments)}: exit code {self.exit_code}: {said}"
            raise CommandError(msg)
        return self


class Process:
    """A running program; its output can be read at any time, while it runs and after.

    Leaving it as a context manager stops it.
    """

    def __init__(
        self,
        lab: RunningLab,
        node: PlannedNode,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bytes = b"",
    ) -> None:
        """Start it.

        Args:
            environment: on top of the caller's own and the topology's for this node.
            cwd: the caller's own if None.
            stdin: what it reads, before the end of file.

        Raises:
            UsageError: there is no such program.
        """
        self.node = node.name
        self.arguments = tuple(arguments)
        self._final: tuple[str, str] | None = None
        with ExitStack() as if_it_fails, tempfile.TemporaryFile() as given:
            self._stdout: IO[bytes] = if_it_fails.enter_context(tempfile.TemporaryFile())
            self._stderr: IO[bytes] = if_it_fails.enter_context(tempfile.TemporaryFile())
            given.write(stdin)
            given.seek(0)
            self._running: RunningProcess = lab.spawn(
                node.name,
                self.arguments,
                environment={**os.environ, **dict(node.environment), **(environment or {})},
                cwd=cwd or Path.cwd(),
                files=(given.fileno(), self._stdout.fileno(), self._stderr.fileno()),
            )
            if_it_fails.pop_all()  # from here on `close` closes them

    @property
    def pid(self) -> int:
        """The process id, as the lab's own /proc shows it."""
        return self._running.pid

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return self._final[0] if self._final else _text(self._stdout)

    @property
    def stderr(self) -> str:
        """What it has complained of so far."""
        return self._final[1] if self._final else _text(self._stderr)

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._running.wait(0)

    def wait(self, timeout: float = 30.0) -> Completed:
        """Return how it ended.

        Args:
            timeout: seconds.

        Raises:
            WaitTimeoutError: it still runs; it goes on running.
        """
        code = self._running.wait(timeout)
        if code is None:
            msg = f"{self.node}: {' '.join(self.arguments)} still runs after {timeout:g} s; it wrote: "
            raise WaitTimeoutError(msg + ((self.stdout + self.stderr)[-_SHOWN:].strip() or "nothing"))
        return Completed(self.node, self.arguments, code, self.stdout, self.stderr)

    def signal(self, number: int) -> None:
        """Send a signal to it and all in its process group."""
        self._running.signal(number)

    def stop(self, timeout: float = 5.0) -> Completed:
        """End it with SIGTERM, or after `timeout` seconds with SIGKILL, and return how it ended."""
        self.signal(signal.SIGTERM)
        if self._running.wait(timeout) is None:
            self.signal(signal.SIGKILL)
        return self.wait()

    def close(self) -> None:
        """Stop it if it runs; what it wrote can still be read."""
        if self._final is None:
            if self.exit_code is None:
                self.stop()
            self._final = self.stdout, self.stderr
            self._stdout.close()
            self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _text(file: IO[bytes]) -> str:
    """Read by position: the program's own position in the file, which it shares, stays where it is."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode(errors="replace")
