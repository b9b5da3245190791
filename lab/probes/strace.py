"""The system calls of a running program, as strace(1) sees them.

with strace.watch(lab["right"], server, "sendfile", "read", "write") as calls:
    ...
assert calls.names().count("sendfile") > 0
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from lab.errors import NotSupportedError
from lab.process import Completed, Process
from lab.wait import wait_until

_CALL = re.compile(
    r"^(?:\[pid +\d+\] )?(?:<\.\.\. )?(?P<name>\w+)(?: resumed>|\()(?P<arguments>.*)\) += (?P<result>-?\d+|\?)",
    re.MULTILINE,
)
_ATTACHED = "attached"
_PATIENCE = 10.0


class Host(Protocol):
    """What is needed of a node."""

    def start(self, *arguments: str, **options: Any) -> Process:
        """Start a program in it."""

    def run(self, *arguments: str, **options: Any) -> Completed:
        """Run a program in it to its end."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that has returned.

    Attributes:
        arguments: as strace writes them, "5, NULL, 7, NULL, 65536, SPLICE_F_MOVE".
        result: None if it did not return a number.
    """

    name: str
    arguments: str
    result: int | None


class Calls:
    """What a program has called since it is watched; complete when the watch is over."""

    def __init__(self, tracer: Process) -> None:
        self._tracer = tracer

    def __iter__(self) -> Iterator[Call]:
        return iter(parse(self.text))

    @property
    def text(self) -> str:
        """What strace has written so far, calls among it that have not returned yet."""
        return self._tracer.stderr

    def names(self) -> list[str]:
        """Return the names of the calls, in the order in which they returned."""
        return [call.name for call in self]


def parse(text: str) -> list[Call]:
    """Return the calls in what strace has written; of one that another thread's interrupts, the last part."""
    return [
        Call(found["name"], found["arguments"], None if found["result"] == "?" else int(found["result"]))
        for found in _CALL.finditer(text)
    ]


@contextmanager
def watch(host: Host, program: Process, *names: str, delay: float = 0.0) -> Iterator[Calls]:
    """Watch all threads of a program while the block runs.

    Args:
        names: of the system calls to watch, or sets of them that strace knows ("%desc"); all without any.
        delay: seconds for which each of them, once it has done its work, is kept from returning.

    Raises:
        NotSupportedError: nobody may watch a program here (ptrace(2)).
    """
    slowly = ["-e", f"inject={','.join(names)}:delay_exit={round(delay * 1e6)}"] if delay else []
    with _attached(host, "-f", *_chosen(names), *slowly, "-p", str(program.pid)) as tracer:
        yield Calls(tracer)


@contextmanager
def slow(host: Host, thread: int, name: str, seconds: float) -> Iterator[None]:
    """Let one thread's system calls of a name begin late by some seconds, while the block runs.

    Args:
        thread: its number, as `lab.probes.proc.threads` tells it.

    Raises:
        NotSupportedError: nobody may watch a program here (ptrace(2)).
    """
    delay = f"inject={name}:delay_enter={round(seconds * 1e6)}"
    with _attached(host, *_chosen([name]), "-e", delay, "-p", str(thread)):
        yield


@contextmanager
def _attached(host: Host, *arguments: str) -> Iterator[Process]:
    """Run strace on what runs already."""
    with host.start("strace", *arguments) as tracer:
        wait_until(
            lambda: _ATTACHED in tracer.stderr or tracer.exit_code is not None,
            timeout=_PATIENCE,
            what="strace to attach",
        )
        if _ATTACHED not in tracer.stderr:
            raise _forbidden(tracer.stderr)
        yield tracer


def run(
    host: Host, arguments: Sequence[str], names: Sequence[str] = (), **options: Any
) -> tuple[Completed, list[Call]]:
    """Run a program to its end, and return how it ended and what it has called.

    What it writes to standard error has strace's lines among its own.

    Args:
        names: as for `watch`.
        options: see `lab.process.Process`.

    Raises:
        NotSupportedError: nobody may watch a program here (ptrace(2)).
    """
    # LeakSanitizer would watch the program itself, and only one may.
    environment = {"ASAN_OPTIONS": "detect_leaks=0", **options.pop("environment", {})}
    done = host.run("strace", "-f", *_chosen(names), *arguments, environment=environment, **options)
    if done.exit_code and "ptrace" in done.stderr:
        raise _forbidden(done.stderr)
    return done, parse(done.stderr)


def _chosen(names: Sequence[str]) -> list[str]:
    return ["-e", "trace=" + ",".join(names)] if names else []


def _forbidden(said: str) -> NotSupportedError:
    return NotSupportedError(f"no program can be watched here: {said.strip()}")
