"""The folders and files that each node has for itself, as its owner writes them.

Everything here is done once per node, so it is written with plain system calls.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from lab.errors import UsageError


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that each node has for itself, mounted over what is there otherwise."""

    name: str
    target: str
    mode: int


# What unprivileged programs are called inside; Debian gives it to nobody (base-passwd: 65000 to 65533 are reserved).
SERVICE_USER = 65000

FOLDERS = (
    Folder("tmp", "/tmp", 0o1777),  # noqa: S108 - mounted over, not used
    Folder("run", "/run", 0o755),
    Folder("shm", "/dev/shm", 0o1777),  # noqa: S108
)


def write_own(files: dict[str, str]) -> None:
    """Write files into folders that the node, in which the calling thread is, has for itself.

    Raises:
        UsageError: one is elsewhere.
        OSError: with the kernel's errno and the file's name.
    """
    for path, text in files.items():
        folder, name = os.path.split(os.path.realpath(path))
        if not f"{folder}/".startswith(tuple(f"{own.target}/" for own in FOLDERS)):
            own = ", ".join(own.target for own in FOLDERS)
            msg = f"{path} is not in a folder that a node has for itself; write to {own}"
            raise UsageError(msg)
        os.makedirs(folder, exist_ok=True)
        # Under another name first: a program that has the old one open goes on reading that.
        write(f"{folder}/.{name}.new", text, 0o600)
        os.rename(f"{folder}/.{name}.new", f"{folder}/{name}")


def name_service(text: str) -> str:
    """Return an /etc/nsswitch.conf with names looked up as in any lab."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("hosts:")]
    return "".join([*lines, "hosts: files dns\n"])


def users(text: str) -> str:
    """Return an /etc/passwd with the user that services run as."""
    return f"{text}lab:x:{SERVICE_USER}:{SERVICE_USER}:services of a lab:/run:/bin/sh\n"


def write(path: str, text: str, mode: int = 0o644) -> None:
    """Write a file that is not there yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        data = text.encode()
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)
