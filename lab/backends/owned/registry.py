"""The folders by which running labs are found: one per lab, named after it, the user's own.

    /run/lab/NAME/             (an ordinary user: $XDG_RUNTIME_DIR/lab/NAME/)
        plan.json              what was built
        owner.json             process ids, when, from what file
        control.sock           where the owner listens
        enter                  runs a program in a node: sh enter NODE PROGRAM [ARGUMENT...]
        docker.json            of labs of containers: the labels of all that they have at the daemon
        lock                   held as long as the guard or the owner lives
        nodes/                 an empty folder; the lab mounts its own files there, in its own mount namespace

A folder appears whole, by rename, and is dead as soon as its lock is free.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.backends.owned import folders
from lab.errors import LabExistsError, LabUnreadyError, UsageError
from lab.plan.model import Plan

ENTRANCE = "enter"


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


def create(name: str, plan: str, source: str, guard: int | None = None) -> Entry:
    """Claim the name of a lab and return its folder, locked.

    Args:
        plan: as JSON.
        source: the topology file.
        guard: the process to be asked, by SIGTERM, to end the lab while it comes up.

    Raises:
        LabExistsError: a lab of that name is up.
        BackendError: the folder cannot be written.
    """
    parent = root()
    with folders.alone(parent):
        final = parent / name
        if name in folders.living(parent):
            msg = (
                f'a lab named "{name}" is up already; take it down with "lab down {name}", '
                'or give this one another name with "--name"'
            )
            raise LabExistsError(msg)
        try:
            temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
            with _removed_on_failure(temporary):
                entry = _fill(temporary, plan, {"name": name, "source": source, "guard": guard})
                temporary.rename(final)
        except OSError as error:
            raise folders.cannot_write(parent, error) from error
    return Entry(final, entry.directory, entry.lock)


def write_owner(entry: Entry, facts: dict[str, Any]) -> None:
    """Write owner.json.

    Raises:
        BackendError: it cannot be written.
    """
    write(entry, "owner.json", json.dumps(facts), 0o600)


def write(entry: Entry, name: str, text: str, mode: int) -> None:
    """Write a file of the folder, whole or not at all.

    Raises:
        BackendError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(name + ".new", flags, mode, dir_fd=entry.directory), "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(name + ".new", name, src_dir_fd=entry.directory, dst_dir_fd=entry.directory)
    except OSError as error:
        raise folders.cannot_write(entry.path.parent, error) from error


def remove(entry: Entry) -> None:
    """Remove the folder, and the one above it if no other lab is left; nothing if somebody has removed it."""
    with folders.alone(entry.path.parent):
        if folders.is_same(entry.directory, entry.path):
            shutil.rmtree(entry.path)


def names() -> list[str]:
    """Return the names of this user's running labs, and clear away what dead owners left.

    Raises:
        BackendError: their folder is not this user's alone.
    """
    parent = root()
    if not folders.exists(parent):
        return []
    with folders.alone(parent):
        return folders.living(parent)


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
        LabUnreadyError: its owner does not listen yet, or no more.
    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _short_path(root() / name) as folder:
            channel.connect(f"{folder}/control.sock")
    except OSError as error:
        channel.close()
        if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
            raise
        raise not_ready(name) from error
    return channel


def not_ready(name: str) -> UsageError | LabUnreadyError:
    """Return the error of who wants something of a lab that does not have it yet, or no more."""
    if name not in names():
        return no_such_lab(name)
    return LabUnreadyError(
        f'lab "{name}" is still coming up, or going down: wait for that, or take it down: lab down {name}'
    )


def no_such_lab(name: str) -> UsageError:
    """Return the error that says so, and which labs there are."""
    running = ", ".join(names()) or "none"
    return UsageError(f'no lab named "{name}" is up (running: {running}); "lab up FILE" starts one')


def listen(entry: Entry) -> socket.socket:
    """Return the owner's listening socket.

    Raises:
        BackendError: its name cannot be put into the folder.
    """
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        channel.bind(f"/proc/self/fd/{entry.directory}/control.sock")
    except OSError as error:
        channel.close()
        raise folders.cannot_write(entry.path.parent, error) from error
    channel.listen(128)
    return channel


def _fill(folder: Path, plan: str, facts: dict[str, Any]) -> Entry:
    entry = Entry(folder, os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), folders.lock(folder))
    (folder / "nodes").mkdir()
    (folder / "plan.json").write_text(plan)
    write_owner(entry, facts)
    return entry


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder)
        raise


def _read(name: str, file: str) -> dict[str, Any]:
    if name not in names():
        raise no_such_lab(name)
    try:
        data: dict[str, Any] = json.loads((root() / name / file).read_text())
    except FileNotFoundError as error:  # it went down just now
        raise no_such_lab(name) from error
    return data


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """Give a path to the folder that fits a socket address (108 bytes) however long its own is."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
