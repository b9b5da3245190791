"""What a node sees of the file system: the machine's own, but for a few files and folders of the node's own."""

from __future__ import annotations

import os
from pathlib import Path

from lab.errors import BackendError
from lab.netlink.namespaces import Mount, mount
from lab.plan.model import Plan, PlannedNode

# Writable by every user of a node, as /tmp is.
_STICKY = 0o1777
_PRIVATE_FOLDERS = {"tmp": _STICKY, "run": 0o755, "shm": _STICKY}
_TARGETS = {"tmp": "/tmp", "run": "/run", "shm": "/dev/shm"}  # noqa: S108 - these are mounted over, not used


def prepare_home(staging: Path) -> None:
    """Make the calling process' new mount namespace the one that every node's is copied from.

    Mounts of the machine go on arriving and, what matters more, leaving; none of ours ever goes back.
    """
    mount("none", "/", flags=Mount.RECURSIVE | Mount.SLAVE)
    _mount_proc()
    mount("tmpfs", str(staging), "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755")


def prepare_node(staging: Path, plan: Plan, node: PlannedNode, shared: tuple[str, ...]) -> None:
    """Give the calling thread's new mount and UTS namespaces the node's own files.

    Args:
        staging: the lab's own tmpfs, where the files live.
        shared: folders of the machine which the node is to see although they lie in /tmp or /run.
    """
    # A /proc of its own: the kernel looks names under /proc/sys up among those of all nodes that share one.
    _mount_proc()
    folder = staging / node.name
    folder.mkdir()
    for name, mode in _PRIVATE_FOLDERS.items():
        own = folder / name
        own.mkdir()
        own.chmod(mode)
        _share(own, _TARGETS[name], shared)
    texts = {
        "/etc/hosts": plan.hosts_file,
        "/etc/resolv.conf": node.resolv_conf,
        "/etc/hostname": node.name + "\n",
    }
    for target, text in texts.items():
        _place(folder, target, text)
    mount("sysfs", "/sys", "sysfs", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)
    _mount_private(folder)


def _mount_proc() -> None:
    mount("proc", "/proc", "proc", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)


def _mount_private(folder: Path) -> None:
    """Mount the private folders over the machine's.

    By descriptor, as `folder` itself is out of sight once the folder it lies in is mounted over.
    """
    descriptors = {name: os.open(folder / name, os.O_PATH | os.O_DIRECTORY) for name in _TARGETS}
    for name, target in _TARGETS.items():
        if os.path.isdir(target):  # noqa: PTH112 - called for every node
            mount(f"/proc/self/fd/{descriptors[name]}", target, flags=Mount.BIND | Mount.RECURSIVE)
        os.close(descriptors[name])


def _share(own: Path, target: str, shared: tuple[str, ...]) -> None:
    for path in shared:
        if path.startswith(target + "/"):
            inside = own / path[len(target) + 1 :]
            inside.mkdir(parents=True, exist_ok=True)
            mount(path, str(inside), flags=Mount.BIND | Mount.RECURSIVE)


def _place(folder: Path, target: str, text: str) -> None:
    """Put a text of the node's own where `target` is, which may be a link into /run (as systemd-resolved makes it)."""
    real = os.path.realpath(target)
    if real.startswith("/run/"):
        own = folder / real[1:]
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(text)
        return
    if not os.path.exists(real):  # noqa: PTH110 - called for every node
        msg = f"{target} does not exist on this machine, so no node can have its own; create it: touch {target}"
        raise BackendError(msg)
    own = folder / target.rpartition("/")[2]
    own.write_text(text)
    mount(str(own), real, flags=Mount.BIND)
