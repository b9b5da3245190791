"""Becoming a program of a container: its control groups and namespaces, and no more powers than it has.

This is what a process does that is about to execute a program; it imports little, as `lab exec` waits for it.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.backends.docker import seccomp
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone

_SIGNAL_AT_PARENTS_END, _DROP_FROM_BOUNDS, _NO_NEW_PRIVILEGES = 1, 24, 38  # prctl(2)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def join(groups: Iterable[int]) -> None:
    """Move the calling process into control groups, by descriptors of their files cgroup.procs."""
    for group in groups:
        os.write(group, b"0")


def give_up(capabilities: int) -> None:
    """Let the calling process never have more than these capabilities, a bit for each, from its next program on."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if not capabilities >> number & 1:
            _prctl(_DROP_FROM_BOUNDS, number)
    _prctl(_NO_NEW_PRIVILEGES, 1)


def confine(filters: int) -> None:
    """Put filters of system calls on the calling process; the file of this descriptor has them."""
    seccomp.apply(os.pread(filters, os.fstat(filters).st_size, 0))


def end_with_parent(number: int) -> None:
    """Let the calling process, and the program that it becomes, get a signal when its parent ends."""
    _prctl(_SIGNAL_AT_PARENTS_END, number)


@contextmanager
def bearing(numbering: int) -> Iterator[None]:
    """Let the children that the calling process has in the block be born in this PID namespace, a descriptor."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.enter(numbering, Clone.PID)
        try:
            yield
        finally:
            namespaces.enter(own, Clone.PID)
    finally:
        os.close(own)


def _prctl(option: int, argument: int) -> None:
    if _libc().prctl(option, argument, 0, 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
