"""What a node sees of the file system: the machine's own, but for a few files and folders of the node's own.

Everything here is done once per node, so it is written with plain system calls.
"""

from __future__ import annotations

import os
from functools import cache

from lab.backends.owned import files
from lab.backends.owned.files import FOLDERS, Folder
from lab.errors import BackendError
from lab.netlink.namespaces import Mount, mount

_BIND = Mount.BIND | Mount.RECURSIVE
_KERNELS = Mount.NOSUID | Mount.NODEV | Mount.NOEXEC


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
    mount("sysfs", "/sys", "sysfs", _KERNELS)
    umask = os.umask(0)
    os.mkdir(folder, 0o755)
    os.chdir(folder)  # whose path may be out of sight in a moment, mounted over by what lies in it
    for own in FOLDERS:
        os.mkdir(own.name, own.mode)
        _share(own, shared)
    for target, text in texts.items():
        _place(target, text)
    for own in FOLDERS:
        if exists(own.target):
            mount(own.name, own.target, flags=_BIND)
    os.chdir("/")
    os.umask(umask)


@cache
def exists(path: str) -> bool:
    """Whether the machine has this; asked once for a whole lab."""
    return os.path.exists(path)


@cache
def name_service() -> str:
    """Return the text of every node's /etc/nsswitch.conf: names are looked up as in any lab."""
    with open("/etc/nsswitch.conf", encoding="utf-8") as file:
        return files.name_service(file.read())


@cache
def users() -> str:
    """Return the text of /etc/passwd where there are services: the machine's, and the user that they run as."""
    with open("/etc/passwd", encoding="utf-8") as file:
        return files.users(file.read())


def _mount_proc() -> None:
    mount("proc", "/proc", "proc", _KERNELS)


def _share(own: Folder, shared: tuple[str, ...]) -> None:
    for path in shared:
        if path.startswith(own.target + "/"):
            inside = own.name + path.removeprefix(own.target)
            os.makedirs(inside, exist_ok=True)
            mount(path, inside, flags=_BIND)


def _place(target: str, text: str) -> None:
    """Put a text of the node's own where `target` is, which may be a link into /run (as systemd-resolved makes it).

    The node's folder is the current one.
    """
    real = _real_path(target)
    if real.startswith("/run/"):
        own = real.removeprefix("/")
        os.makedirs(os.path.dirname(own), exist_ok=True)
        files.write(own, text)
    else:
        own = os.path.basename(target)
        files.write(own, text)
        mount(own, real, flags=Mount.BIND)


@cache
def _real_path(target: str) -> str:
    real = os.path.realpath(target)
    if not real.startswith("/run/") and not os.path.exists(real):
        msg = f"{target} does not exist on this machine, so no node can have its own; create it: touch {target}"
        raise BackendError(msg)
    return real
