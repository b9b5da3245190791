"""Trials: things done once, each in a process of its own that takes all it made along with it."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from lab.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LONGEST = 300  # characters of a detail or remedy; both together fit one atomic write to a pipe
_SET_DEATH_SIGNAL, _SET_DUMPABLE = 1, 4  # PR_SET_PDEATHSIG and PR_SET_DUMPABLE, prctl(2)


class Refusal(Exception):  # noqa: N818 - it is the kernel's answer, no error of ours
    """A trial that failed for a reason which has a remedy of its own."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing to try.

    Attributes:
        run: does it, and returns what it saw; any exception says that it cannot be done here.
        remedy: what mends it, unless the exception is a `Refusal` and knows better.
    """

    name: str
    group: str
    run: Callable[[], str]
    remedy: str
    required: bool = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended; `remedy` is empty where the trial knows none of its own."""

    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that carries a trial out, and the pipe that its outcome comes by."""

    process: int
    reader: int

    def wait(self, deadline: float) -> Outcome:
        """Return the outcome; a child that is still busy at `deadline` (of `time.monotonic`) is killed."""
        left = max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select([self.reader], [], [], left)
        if not readable:
            os.kill(self.process, signal.SIGKILL)  # not waited for: what hangs in the kernel may not even die
            os.close(self.reader)
            return Outcome(ok=False, detail="it hung, and was given up")
        data = os.read(self.reader, select.PIPE_BUF)
        os.close(self.reader)
        _process, status = os.waitpid(self.process, 0)
        if not data:
            return Outcome(ok=False, detail=f"its process ended with {os.waitstatus_to_exitcode(status)}")
        return Outcome(**json.loads(data))


def start(run: Callable[[], str]) -> Child:
    """Carry `run` out in a child of the calling process, which must have one thread."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return Child(process, reader)
    code = 1
    try:
        die_with_parent()
        _let_go_of_terminal()
        os.write(writer, json.dumps(asdict(_outcome(run))).encode())
        code = 0
    finally:
        os._exit(code)


def run_all(trials: Sequence[Trial], seconds: float) -> list[Finding]:
    """Carry all trials out side by side, and give up those that take longer than `seconds`."""
    children = [start(trial.run) for trial in trials]
    deadline = time.monotonic() + seconds
    return [_finding(trial, child.wait(deadline)) for trial, child in zip(trials, children, strict=True)]


def die_with_parent() -> None:
    """Have the kernel kill the calling process when its parent ends; a change of uid undoes this."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def become(uid: int) -> None:
    """Be an ordinary user from here on, who owns the files of this process in /proc."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _prctl(_SET_DUMPABLE, 1)
    die_with_parent()


def _let_go_of_terminal() -> None:
    """Hold no end of the caller's pipes, which a child that cannot be killed would keep open."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.close(null)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _finding(trial: Trial, outcome: Outcome) -> Finding:
    remedy = "" if outcome.ok else outcome.remedy or trial.remedy
    return Finding(trial.name, trial.group, outcome.ok, trial.required, outcome.detail, remedy)


def _outcome(run: Callable[[], str]) -> Outcome:
    try:
        return Outcome(ok=True, detail=_line(run()))
    except Refusal as refusal:
        return Outcome(ok=False, detail=_line(refusal.detail), remedy=_line(refusal.remedy))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the trial found
        return Outcome(ok=False, detail=_line(_words(error)))


def _words(error: Exception) -> str:
    """Return the kernel's words without the number, and anything else with its type."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"


def _line(text: str) -> str:
    """Return the text fit for one line of any terminal."""
    return " ".join(text.split()).encode("unicode_escape").decode("ascii")[:_LONGEST]
