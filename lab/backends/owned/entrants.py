"""Processes outside of a lab that wait for a program in it, as those behind `lab exec` do."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection


def wake(numberings: Collection[str]) -> None:
    """Continue those that are stopped, by Ctrl-Z say, with children in one of these PID namespaces.

    The kernel has killed their programs, and a PID namespace ends only when all that were in it are reaped.

    Args:
        numberings: as /proc/PID/ns tells them.
    """
    for process in os.listdir("/proc") if numberings else ():  # noqa: PTH208 - names only
        if process.isdigit() and int(process) != os.getpid() and of_children(process) in numberings:
            with contextlib.suppress(ProcessLookupError):  # ended meanwhile
                os.kill(int(process), signal.SIGCONT)


def of_children(process: str) -> str:
    """Return the PID namespace of a process' future children; nothing if it has ended or is somebody else's."""
    try:
        return os.readlink(f"/proc/{process}/ns/pid_for_children")  # noqa: PTH115 - called for every process
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
