"""Processes, their threads and descriptors, as /proc of a node shows them.

assert proc.children(lab["right"], server.pid) == []
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any, Protocol

from lab.errors import NotSupportedError
from lab.process import Completed, Process
from lab.wait import wait_until

_COLUMNS = "lwp=,stat=,wchan:32=,comm="


class Host(Protocol):
    """What is needed of a node."""

    def run(self, *arguments: str, **options: Any) -> Completed:
        """Run a program in it to its end."""


@dataclass(frozen=True, slots=True)
class Task:
    """A process or a thread.

    Attributes:
        pid: of a thread, its own number.
        state: "R" for one that runs, "S" for one that sleeps, "Z" for a zombie (proc(5)).
        waits_in: the function of the kernel that it sleeps in; "-" if it does not, or the kernel does not tell.
    """

    pid: int
    state: str
    waits_in: str
    name: str


def children(host: Host, pid: int) -> list[Task]:
    """Return the children of a process, zombies among them."""
    return _tasks(host, "--ppid", str(pid))


def threads(host: Host, pid: int) -> list[Task]:
    """Return the threads of a process; none if it has ended."""
    return _tasks(host, "-L", "-p", str(pid))


def descriptors(host: Host, pid: int) -> dict[int, str]:
    """Return what each descriptor of a process is open on: "/etc/passwd", "socket:[4711]".

    Raises:
        CommandError: the process has ended, or is somebody else's.
    """
    listing = host.run("find", f"/proc/{pid}/fd", "-type", "l", "-printf", "%f %l\n").check().stdout
    return {int(number): target for number, _, target in (line.partition(" ") for line in listing.splitlines())}


def status(host: Host, pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status of a process or a thread: "SigBlk", "VmRSS"...

    Raises:
        CommandError: it has ended.
    """
    text = host.run("cat", f"/proc/{pid}/status").check().stdout
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def processor_ticks(host: Host, pid: int) -> int:
    """Return for how long a process has had a processor, in hundredths of a second (proc_pid_stat(5)).

    Raises:
        CommandError: it has ended.
    """
    after_name = host.run("cat", f"/proc/{pid}/stat").check().stdout.rpartition(")")[2].split()
    return int(after_name[11]) + int(after_name[12])


def blocks(host: Host, pid: int, signal: int) -> bool:
    """Return whether a thread blocks a signal.

    Raises:
        CommandError: it has ended.
    """
    return bool(int(status(host, pid)["SigBlk"], 16) >> (signal - 1) & 1)


def as_user(host: Host, user: int) -> tuple[str, ...]:
    """Return the words that, in front of a program's own, let another user run it, who is in one group of that number.

    Raises:
        NotSupportedError: there is no other user here, as in a lab of an ordinary user's.
    """
    words = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    trial = host.run(*words, "true")
    if trial.exit_code != 0:
        msg = f"there is no other user to become here: {trial.stderr.strip()}"
        raise NotSupportedError(msg)
    return words


def pause(host: Host, process: Process) -> None:
    """Stop a program with SIGSTOP, and return when it stands still: a signal takes a moment, thread by thread.

    Raises:
        WaitTimeoutError: it goes on.
    """
    process.signal(signal.SIGSTOP)
    await_pause(host, process.pid)


def await_pause(host: Host, pid: int) -> None:
    """Return when every thread of a process stands still.

    Raises:
        WaitTimeoutError: one goes on.
    """
    stopped = {"T", "t"}
    wait_until(
        lambda: {thread.state for thread in threads(host, pid)} <= stopped, timeout=5, what=f"process {pid} to stop"
    )


def _tasks(host: Host, *chosen: str) -> list[Task]:
    """Ask ps(1), which fails when there is nothing to show."""
    lines = host.run("ps", *chosen, "-o", _COLUMNS).stdout.splitlines()
    return [
        Task(int(pid), state[0], where, name) for pid, state, where, name in (line.split(None, 3) for line in lines)
    ]
