"""Namespaces and mounts of the calling process (namespaces(7), mount(2)).

A namespace here is a file descriptor, never a name: it lives as long as somebody holds it.
Python has `os.unshare` and `os.setns` from 3.12 only, and `mount` not at all, hence ctypes.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntFlag


class Clone(IntFlag):
    """The kinds of namespace, as unshare(2) and setns(2) take them."""

    MOUNT = 0x00020000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


class Mount(IntFlag):
    """The flags of mount(2) that labs use."""

    NONE = 0
    NOSUID = 0x2
    NODEV = 0x4
    NOEXEC = 0x8
    BIND = 0x1000
    RECURSIVE = 0x4000
    SLAVE = 0x80000


_MNT_DETACH = 2

_FILES = {
    Clone.NET: "net",
    Clone.MOUNT: "mnt",
    Clone.UTS: "uts",
    Clone.IPC: "ipc",
    Clone.USER: "user",
    Clone.PID: "pid",
}


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, *what: object) -> None:
    """Raise if a call failed; the words that say what it was are put together only then."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{' '.join(map(str, what))}: {os.strerror(number)}")


def unshare(kinds: Clone) -> None:
    """Move the calling thread into new namespaces of these kinds.

    Raises:
        OSError: with the kernel's errno; `Clone.USER` needs a process with one thread.
    """
    _check(_libc().unshare(int(kinds)), "unshare", kinds)


def enter(descriptor: int, kind: Clone) -> None:
    """Move the calling thread into the namespace that this descriptor holds."""
    _check(_libc().setns(descriptor, int(kind)), "setns", kind)


@contextmanager
def own_folder() -> Iterator[int]:
    """Give, for the block, a descriptor of the folder that the calling thread's namespaces are in, now and later."""
    folder = os.open("/proc/thread-self/ns", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def current(kind: Clone, folder: int) -> int:
    """Return a new close-on-exec descriptor of the calling thread's namespace of this kind.

    Args:
        folder: from `own_folder`; to look for it through every new /proc would take longer than all the rest.
    """
    return os.open(_FILES[kind], os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)


@contextmanager
def entered(descriptor: int, kind: Clone, home: int) -> Iterator[None]:
    """Be in the namespace of `descriptor` for the block, then back in that of `home`."""
    enter(descriptor, kind)
    try:
        yield
    finally:
        enter(home, kind)


def mount(source: str, target: str, kind: str | None = None, flags: Mount = Mount.NONE, options: str = "") -> None:
    """Attach a file system; `kind` is its name, or None for a bind or a change of propagation (mount(2)).

    Raises:
        OSError: with the kernel's errno; the message names the target.
    """
    _check(
        _libc().mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() if kind else None,
            ctypes.c_ulong(int(flags)),
            options.encode() if options else None,
        ),
        "mount",
        kind or "bind",
        "on",
        target,
    )


def unmount(target: str) -> None:
    """Detach what is mounted there, even if it is in use (umount2(2), MNT_DETACH).

    Raises:
        OSError: with the kernel's errno; the message names the target.
    """
    _check(_libc().umount2(os.fsencode(target), _MNT_DETACH), f"unmount {target}")


def become_root_of_user_namespace() -> None:
    """Enter a new user namespace as its root: how an ordinary user gets to make all the others.

    Only the caller's own uid and gid are mapped, which is what the kernel lets anyone do
    (user_namespaces(7)). The process must have one thread.

    Raises:
        OSError: the kernel or its security module refuses.
    """
    _enter_user_namespace(0)


def become_nobody_in_particular(uid: int) -> None:
    """Enter a new user namespace as `uid`, which is what the caller's own uid and gid are called there.

    A program that is executed next has no capabilities, and files of the caller's are still its own. To programs
    that give root's powers up, with system calls that a user namespace refuses, it looks as if they had.
    The process must have one thread.

    Raises:
        OSError: the kernel or its security module refuses.
    """
    _enter_user_namespace(uid)


def _enter_user_namespace(inside: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    unshare(Clone.USER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {uid} 1"), ("gid_map", f"{inside} {gid} 1")):
        # In bytes: where Python's own files are out of sight it cannot load the code of an encoding.
        with open(f"/proc/self/{name}", "wb") as file:  # noqa: PTH123 - Path is not quicker to read
            file.write(text.encode())
