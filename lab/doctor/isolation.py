"""Trials of what keeps a lab apart from the machine: namespaces and mounts."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from lab.doctor import arena
from lab.doctor.trial import Refusal, Trial, become
from lab.netlink import sysctl
from lab.netlink.namespaces import Clone, Mount, mount

if TYPE_CHECKING:
    from collections.abc import Callable

_NOBODY = 65534
_OWN_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname")
_FOLDERS = ("/tmp", "/run", "/dev/shm")  # noqa: S108 - these are mounted over, not used


def trials() -> list[Trial]:
    """Return the trials; root can do without user namespaces, anybody else cannot."""
    wanted: list[tuple[str, Callable[[], str], str]] = [
        ("PID namespace", _pid_namespace, "boot a kernel that has CONFIG_PID_NS"),
        ("network namespace", _network_namespace, "boot a kernel that has CONFIG_NET_NS"),
        ("mount namespace", _mount_namespace, "in a container, start that with --privileged"),
        ("UTS namespace", _uts_namespace, "boot a kernel that has CONFIG_UTS_NS"),
        ("IPC namespace", _ipc_namespace, "boot a kernel that has CONFIG_IPC_NS"),
        ("mount proc", _mount_proc, "in a container, start that with --security-opt systempaths=unconfined"),
        ("mount sysfs", _mount_sysfs, "in a container, start that with --privileged"),
        ("mount tmpfs", _mount_tmpfs, "boot a kernel that has CONFIG_TMPFS"),
        ("bind mounts", _bind, "in a container, start that with --privileged"),
        ("network sysctls", _sysctls, "boot a kernel that has CONFIG_SYSCTL"),
    ]
    return [
        Trial("user namespaces", "isolation", _user_namespace, "run as root", required=os.geteuid() != 0),
        *(Trial(name, "isolation", run, remedy, required=True) for name, run, remedy in wanted),
    ]


def _user_namespace() -> str:
    if os.geteuid() == 0:
        become(_NOBODY)
    uid = os.geteuid()
    arena.enter_user_namespace()
    arena.enter(*arena.LAB_KINDS)
    return f"uid {uid} may make them, and all the others inside"


def _pid_namespace() -> str:
    arena.enter(Clone.PID)
    return arena.in_process_one(_orphans_end_here)


def _orphans_end_here() -> str:
    """See that process 1 inherits its children's children, as the owner of a lab must."""
    if os.getpid() != 1:
        raise Refusal(f"process {os.getpid()} is the first one", "boot a kernel that has CONFIG_PID_NS")
    child = os.fork()
    if child == 0:
        os.fork()
        os._exit(0)
    os.waitpid(child, 0)
    os.waitpid(-1, 0)
    return "process 1 inherits what its children leave"


def _network_namespace() -> str:
    arena.enter(Clone.NET)
    return f"it starts with {', '.join(name for _, name in socket.if_nameindex())}"


def _mount_namespace() -> str:
    arena.enter(Clone.MOUNT)
    arena.detach_mounts()
    return "mounts in it stay in it"


def _uts_namespace() -> str:
    arena.enter(Clone.UTS)
    socket.sethostname("doctor")
    return "a node has a host name of its own"


def _ipc_namespace() -> str:
    before = Path("/proc/self/ns/ipc").readlink()
    arena.enter(Clone.IPC)
    return f"{before} became {Path('/proc/self/ns/ipc').readlink()}"


def _mount_proc() -> str:
    return arena.in_home(lambda: f"its /proc/self is process {Path('/proc/self').readlink()}")


def _mount_sysfs() -> str:
    arena.enter(Clone.NET, Clone.MOUNT)
    arena.detach_mounts()
    mount("sysfs", "/sys", "sysfs", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)
    return f"/sys/class/net has {', '.join(sorted(entry.name for entry in Path('/sys/class/net').iterdir()))}"


def _mount_tmpfs() -> str:
    arena.enter(Clone.MOUNT)
    arena.detach_mounts()
    there = [folder for folder in _FOLDERS if Path(folder).is_dir()]
    for folder in there:
        mount("tmpfs", folder, "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755")
        (Path(folder) / "trial").write_text("written")
    return f"over {', '.join(there)}"


def _bind() -> str:
    arena.enter(Clone.MOUNT)
    arena.detach_mounts()
    real = {target: Path(target).resolve() for target in _OWN_FILES}
    mount("tmpfs", "/tmp", "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755")  # noqa: S108 - in this namespace
    own = Path("/tmp/own")  # noqa: S108 - as above
    own.write_text("own")
    for target, path in real.items():
        if path.is_relative_to("/run"):
            continue  # a lab has a /run of its own, and makes the file there
        if not path.exists():
            raise Refusal(f"{target} does not exist, so no node can have its own", f"touch {path}")
        mount(str(own), str(path), flags=Mount.BIND)
    return f"over {', '.join(_OWN_FILES)}"


def _sysctls() -> str:
    return arena.in_home(_forward)


def _forward() -> str:
    for value in ("1", "0"):
        sysctl.write("net.ipv4.ip_forward", value)
        if sysctl.read("net.ipv4.ip_forward") != value:
            raise Refusal(f"net.ipv4.ip_forward is not the {value} that was written", "")
    return "net.ipv4.ip_forward follows what is written"
