"""The folders by which running labs are found: one per lab, named after it, the user's own.

    /run/lab/NAME/             (an ordinary user: $XDG_RUNTIME_DIR/lab/NAME/)
        plan.json              what was built
        owner.json             process ids, when, from what file
        control.sock           where the owner listens
        enter                  runs a program in a node: enter NODE PROGRAM [ARGUMENT...]
        lock                   held as long as the guard or the owner lives
        nodes/                 an empty folder; the lab mounts its own files there, in its own mount namespace

A folder appears whole, by rename, and is dead as soon as its lock is free.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import BackendError, LabExistsError, UsageError
from lab.plan.model import Plan


@dataclass(frozen=True, slots=True)
class Entry:
    """One lab's folder, held open.

    Attributes:
        directory: descriptor of the folder; it stays good wherever the path leads in another mount namespace.
    """

    path: Path
    directory: int
    lock: int


def root() -> Path:
    """Return the folder of this user's labs, whether it exists or not.

    Without XDG_RUNTIME_DIR (su, cron, containers) it is a folder of the user's own among the temporary files.
    """
    if os.geteuid() == 0:
        return Path("/run/lab")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "lab"
    return Path(tempfile.gettempdir()) / f"lab-{os.geteuid()}"


def create(plan: Plan, source: str) -> Entry:
    """Claim the plan's name and return its folder, locked.

    Raises:
        LabExistsError: a lab of that name is up.
        BackendError: the folder cannot be written.
    """
    parent = root()
    temporary = _temporary_folder(parent)
    try:
        entry = _fill(temporary, plan, source)
        _publish(temporary, parent / plan.name)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _cannot_write(parent, error) from error
    except LabExistsError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Entry(parent / plan.name, entry.directory, entry.lock)


def write_owner(entry: Entry, facts: dict[str, Any]) -> None:
    """Write owner.json."""
    write(entry, "owner.json", json.dumps(facts), 0o600)


def write(entry: Entry, name: str, text: str, mode: int) -> None:
    """Write a file of the folder, whole or not at all."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(name + ".new", flags, mode, dir_fd=entry.directory), "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(name + ".new", name, src_dir_fd=entry.directory, dst_dir_fd=entry.directory)


def remove(entry: Entry) -> None:
    """Remove the folder, and the one above it if no other lab is left."""
    parent = entry.path.parent
    descriptor = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=entry.directory)
    try:
        if _same(entry.directory, entry.path.name, descriptor):
            shutil.rmtree(entry.path.name, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    _remove_if_empty(parent)


def names() -> list[str]:
    """Return the names of this user's running labs, and clear away what dead owners left."""
    parent = root()
    if not parent.is_dir():
        return []
    alive = []
    for path in sorted(parent.iterdir()):
        if _clear_if_dead(path) or path.name.startswith("."):
            continue
        alive.append(path.name)
    _remove_if_empty(parent)
    return alive


def plan_of(name: str) -> Plan:
    """Return the plan of a running lab.

    Raises:
        UsageError: there is no such lab; names those that there are.
    """
    return Plan.from_data(_read(name, "plan.json"))


def owner_of(name: str) -> dict[str, Any]:
    """Return what owner.json says of a running lab.

    Raises:
        UsageError: there is no such lab.
    """
    return _read(name, "owner.json")


def connect(name: str) -> socket.socket:
    """Return a connection to the owner of a running lab.

    Raises:
        UsageError: there is no such lab.
    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _short_path(root() / name) as folder:
            channel.connect(f"{folder}/control.sock")
    except OSError as error:
        channel.close()
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
            raise no_such_lab(name) from error
        raise
    return channel


def no_such_lab(name: str) -> UsageError:
    """Return the error that says so, and which labs there are."""
    running = ", ".join(names()) or "none"
    return UsageError(f'no lab named "{name}" is up (running: {running}); "lab up FILE" starts one')


def listen(entry: Entry) -> socket.socket:
    """Return the owner's listening socket."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel.bind(f"/proc/self/fd/{entry.directory}/control.sock")
    channel.listen(128)
    return channel


def _temporary_folder(parent: Path) -> Path:
    for _attempt in range(10):
        _own_folder(parent)
        try:
            return Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
        except FileNotFoundError:  # the last lab went just now, and its folder's folder with it
            continue
        except OSError as error:
            raise _cannot_write(parent, error) from error
    msg = f"{parent} is removed as fast as it is made"
    raise BackendError(msg)


def _own_folder(path: Path) -> None:
    """Make the folder of all labs, or check that the one there is this user's alone."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _cannot_write(path, error) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        msg = f"{path} must be a folder of uid {os.geteuid()} with mode 0700; remove it or set XDG_RUNTIME_DIR"
        raise BackendError(msg)


def _fill(folder: Path, plan: Plan, source: str) -> Entry:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lock = os.open(folder / "lock.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "lock.new").rename(folder / "lock")  # so that nobody ever finds it free
    (folder / "nodes").mkdir()
    (folder / "plan.json").write_text(json.dumps(plan.to_data()))
    entry = Entry(folder, directory, lock)
    write_owner(entry, {"name": plan.name, "source": source})
    return entry


def _publish(temporary: Path, final: Path) -> None:
    for _attempt in range(3):
        try:
            temporary.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not _clear_if_dead(final):
                break
        else:
            return
    msg = (
        f'a lab named "{final.name}" is up already; take it down with "lab down {final.name}", '
        'or give this one another name with "--name"'
    )
    raise LabExistsError(msg)


def _clear_if_dead(path: Path) -> bool:
    """Remove the folder if nobody holds its lock; say whether it is gone."""
    try:
        lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return not path.exists()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        grave = path.with_name(f".dead-{os.getpid()}-{path.name}")
        if _same(lock, path / "lock"):  # still the folder whose lock we hold, not its successor
            path.rename(grave)
            shutil.rmtree(grave)
        return True
    finally:
        os.close(lock)


def _same(descriptor: int, path: Path | str, directory: int | None = None) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, dir_fd=directory))
    except FileNotFoundError:
        return False


def _remove_if_empty(parent: Path) -> None:
    try:
        parent.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY):
            raise


def _read(name: str, file: str) -> dict[str, Any]:
    path = root() / name / file
    if name not in names():
        raise no_such_lab(name)
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def _cannot_write(path: Path, error: OSError) -> BackendError:
    return BackendError(
        f"cannot keep the lab's state in {path}: {error.strerror}; free it or set XDG_RUNTIME_DIR to another folder"
    )


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """Give a path to the folder that fits a socket address (108 bytes) however long its own is."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
