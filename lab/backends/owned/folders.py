"""The folders of one user's labs: who may use them, and how dead ones go.

A lab's folder is alive as long as somebody holds the lock in it. Whoever makes, publishes or removes one holds
the lock on the folder of all labs meanwhile, so a folder whose lock is free is dead, half-written ones too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import BackendError

LOCK = "lock"


@contextmanager
def alone(parent: Path) -> Iterator[None]:
    """Be the only process that changes the folder of all labs, which is made if need be; remove it if it is empty.

    Raises:
        BackendError: it cannot be made, or is not this user's alone.
    """
    descriptor = _locked(parent)
    try:
        yield
    finally:
        _remove_if_empty(parent)
        os.close(descriptor)


def exists(parent: Path) -> bool:
    """Whether the folder of all labs is there.

    Raises:
        BackendError: it is there and is not this user's alone, so nothing in it can be trusted.
    """
    try:
        found = parent.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise cannot_write(parent, error) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        msg = f"{parent} must be a folder of uid {os.geteuid()} with mode 0700; remove it or set XDG_RUNTIME_DIR"
        raise BackendError(msg)
    return True


def lock(folder: Path) -> int:
    """Return a descriptor of the new folder's lock, held until it is closed by all who have it."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def living(parent: Path) -> list[str]:
    """Return the names of the folders whose lock is held, and remove those whose lock is not; only when `alone`."""
    alive = []
    for folder in sorted(path for path in parent.iterdir() if path.is_dir()):
        if _is_held(folder / LOCK):
            alive.append(folder.name)
        else:
            shutil.rmtree(folder)
    return alive


def cannot_write(parent: Path, error: OSError) -> BackendError:
    """Return the error that says so."""
    return BackendError(
        f"cannot keep the lab's state in {parent}: {error.strerror}; free it or set XDG_RUNTIME_DIR to another folder"
    )


def is_same(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to what the descriptor has open."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _locked(parent: Path) -> int:
    while True:
        if not exists(parent):
            _make(parent)
            continue
        try:
            descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # the last lab went just now, and the folder with it
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if is_same(descriptor, parent):
            return descriptor
        os.close(descriptor)


def _make(parent: Path) -> None:
    try:
        parent.mkdir(mode=0o700)
    except FileExistsError:
        return  # somebody was quicker, and may not be the same user: it is looked at again
    except OSError as error:
        raise cannot_write(parent, error) from error


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _remove_if_empty(parent: Path) -> None:
    try:
        parent.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY, errno.EACCES):
            raise
