"""Where trials take place: namespaces of their own, entered as a lab enters its."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

from lab.doctor.trial import Refusal, start
from lab.netlink import namespaces, sysctl
from lab.netlink.namespaces import Clone, Mount, mount

if TYPE_CHECKING:
    from collections.abc import Callable

LAB_KINDS = (Clone.PID, Clone.NET, Clone.MOUNT, Clone.UTS, Clone.IPC)
_NAMES = {
    Clone.USER: "user",
    Clone.PID: "pid",
    Clone.NET: "net",
    Clone.MOUNT: "mnt",
    Clone.UTS: "uts",
    Clone.IPC: "ipc",
}
_SECONDS = 8.0


def enter(*kinds: Clone) -> None:
    """Move into new namespaces: directly where that is allowed, else as root of a new user namespace.

    Raises:
        Refusal: neither works; says what would mend it.
    """
    try:
        namespaces.unshare(Clone.UTS)
    except PermissionError:
        enter_user_namespace()
    for kind in kinds:
        _unshare(kind)


def enter_user_namespace() -> None:
    """Become root of a new user namespace.

    Raises:
        Refusal: not allowed; says what would mend it.
    """
    try:
        namespaces.become_root_of_user_namespace()
    except OSError as error:
        raise _refusal(Clone.USER, error) from error


def in_process_one(run: Callable[[], str]) -> str:
    """Carry `run` out as process 1 of the PID namespace that the caller has made, and return what it saw.

    Raises:
        Refusal: `run` failed.
    """
    outcome = start(run).wait(time.monotonic() + _SECONDS)
    if not outcome.ok:
        raise Refusal(outcome.detail, outcome.remedy)
    return outcome.detail


def in_home(run: Callable[[], str]) -> str:
    """Carry `run` out where a lab builds: all namespaces new, with a /proc of their own."""
    enter(*LAB_KINDS)

    def with_proc() -> str:
        detach_mounts()
        mount("proc", "/proc", "proc", Mount.NOSUID | Mount.NODEV | Mount.NOEXEC)
        return run()

    return in_process_one(with_proc)


def detach_mounts() -> None:
    """Keep what is mounted from here on out of the machine's own mount namespace."""
    mount("none", "/", flags=Mount.RECURSIVE | Mount.SLAVE)


def _unshare(kind: Clone) -> None:
    try:
        namespaces.unshare(kind)
    except OSError as error:
        raise _refusal(kind, error) from error


def _refusal(kind: Clone, error: OSError) -> Refusal:
    detail = f"{_NAMES[kind]} namespace: {os.strerror(error.errno or 0)}"
    return Refusal(detail, _remedy(kind, error.errno))


def _remedy(kind: Clone, number: int | None) -> str:
    """Return what allows these namespaces; settings are read only to tell the reasons for a refusal apart."""
    if number in (errno.ENOSPC, errno.EUSERS):
        return f"sysctl -w user.max_{_NAMES[kind]}_namespaces=10000"
    if number == errno.EINVAL:
        return f"boot a kernel that has CONFIG_{_NAMES[kind].upper()}_NS"
    if _is("kernel.apparmor_restrict_unprivileged_userns", "1"):
        return (
            "an AppArmor profile with `userns,` for this program, "
            "or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    if _is("kernel.unprivileged_userns_clone", "0"):
        return "sysctl -w kernel.unprivileged_userns_clone=1"
    return "run as root; in a container, start that with --privileged, or let its seccomp profile pass unshare(2)"


def _is(key: str, value: str) -> bool:
    try:
        return sysctl.read(key) == value
    except FileNotFoundError:
        return False
