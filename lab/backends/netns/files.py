"""What a node sees of the file system: the machine's own, but for a few files and folders of the node's own.

Everything here is done once per node, so it is written with plain system calls.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from lab.errors import BackendError
from lab.netlink.namespaces import Mount, mount


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that each node has for itself, mounted over the machine's."""

    name: str
    target: str
    mode: int


_BIND = Mount.BIND | Mount.RECURSIVE
_KERNELS = Mount.NOSUID | Mount.NODEV | Mount.NOEXEC

_FOLDERS = (
    _Folder("tmp", "/tmp", 0o1777),  # noqa: S108 - mounted over, not used
    _Folder("run", "/run", 0o755),
    _Folder("shm", "/dev/shm", 0o1777),  # noqa: S108
)


def prepare_home(staging: str) -> None:
    """Make the calling process' new mount namespace the one that every node's is copied from.

    Mounts of the machine go on arriving and, what matters more, leaving; none of ours ever goes back.
    """
    mount("none", "/", flags=Mount.RECURSIVE | Mount.SLAVE)
    _mount_proc()
    mount("tmpfs", staging, "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755")


def prepare_node(folder: str, texts: dict[str, str], shared: tuple[str, ...]) -> None:
    """Give the calling thread's new mount namespace, a copy of the home one, the node's own files.

    Args:
        folder: does not exist yet; in the lab's own tmpfs.
        texts: the node's files of /etc, by path.
        shared: folders of the machine which the node is to see although they lie in a folder of its own.
    """
    # A /proc of its own, too: the kernel looks names under /proc/sys up among those of all nodes that share one.
    _mount_proc()
    umask = os.umask(0)
    os.mkdir(folder, 0o755)
    for own in _FOLDERS:
        os.mkdir(f"{folder}/{own.name}", own.mode)
        _share(f"{folder}/{own.name}", own.target, shared)
    for target, text in texts.items():
        _place(folder, target, text)
    os.umask(umask)
    mount("sysfs", "/sys", "sysfs", _KERNELS)
    _mount_own(folder)


def _mount_proc() -> None:
    mount("proc", "/proc", "proc", _KERNELS)


def _mount_own(folder: str) -> None:
    """Mount the node's folders over the machine's.

    By descriptor, as `folder` itself is out of sight once the folder it lies in is mounted over.
    """
    present = [own for own in _FOLDERS if os.path.isdir(own.target)]
    descriptors = [os.open(f"{folder}/{own.name}", os.O_PATH | os.O_DIRECTORY) for own in present]
    for own, descriptor in zip(present, descriptors, strict=True):
        mount(f"/proc/self/fd/{descriptor}", own.target, flags=_BIND)
        os.close(descriptor)


def _share(own: str, target: str, shared: tuple[str, ...]) -> None:
    for path in shared:
        if path.startswith(target + "/"):
            inside = own + path.removeprefix(target)
            os.makedirs(inside, exist_ok=True)
            mount(path, inside, flags=_BIND)


def _place(folder: str, target: str, text: str) -> None:
    """Put a text of the node's own where `target` is, which may be a link into /run (as systemd-resolved makes it)."""
    real = _real_path(target)
    if real.startswith("/run/"):
        os.makedirs(os.path.dirname(folder + real), exist_ok=True)
        _write(folder + real, text)
    else:
        own = f"{folder}/{os.path.basename(target)}"
        _write(own, text)
        mount(own, real, flags=Mount.BIND)


@cache
def _real_path(target: str) -> str:
    real = os.path.realpath(target)
    if not real.startswith("/run/") and not os.path.exists(real):
        msg = f"{target} does not exist on this machine, so no node can have its own; create it: touch {target}"
        raise BackendError(msg)
    return real


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        data = text.encode()
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)
