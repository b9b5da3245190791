"""A nursery in which labs meet trouble: the backend's own, with some of its calls to the kernel replaced.

A lab named "faulty-7" has its seventh call refused; one named "odd-host" is born on a host with odd settings,
as far as a new network namespace takes them from its host.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.backends.netns import nursery
from lab.backends.owned import baseline, registry
from lab.netlink import namespaces, offload, rtnetlink, sysctl
from lab.netlink.namespaces import Clone

FAULTY = "faulty-"
ODD = "odd-host"
_CALLS: tuple[tuple[Any, str], ...] = (
    (namespaces, "_check"),  # of unshare, setns, mount
    (namespaces, "current"),
    (sysctl, "write"),
    (rtnetlink, "transact"),
    (offload, "offloads_off"),
    (offload, "apply"),
    (socket, "sethostname"),
)
# What baseline.py writes and a namespace does not take from its host may be odd as well: it must not matter.
_ODD_TEXT = {"net.ipv4.tcp_rmem": "8192 262144 8388608", "net.ipv4.tcp_wmem": "8192 32768 8388608"}
_INHERITED = ("ipv4/conf/all", "ipv4/conf/default", "ipv4/conf/lo", "ipv6/conf/all", "ipv6/conf/default")


class Faults:
    """Counts the calls of one lab's guard and owner, and refuses one."""

    def __init__(self) -> None:
        self.left = 0

    def arm(self, create: Callable[..., registry.Entry]) -> Callable[..., registry.Entry]:
        def armed(name: str, plan: str, source: str, guard: int) -> registry.Entry:
            if name.startswith(FAULTY):
                self.left = int(name.removeprefix(FAULTY))
            elif name == ODD:
                setattr(namespaces, "unshare", _in_odd_surroundings(namespaces.unshare))  # noqa: B010 - for mypy
            return create(name, plan, source, guard)

        return armed

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def refused_in_its_turn(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, f"{call.__name__}: {os.strerror(errno.EIO)}")
            return call(*arguments, **options)

        return refused_in_its_turn


def odd_keys() -> list[str]:
    """Return the sysctls that an odd host has otherwise."""
    folders = [Path("/proc/sys/net", folder) for folder in _INHERITED]
    paths = [str(path) for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    keys = [path.removeprefix("/proc/sys/").replace("/", ".") for path in paths]
    return [*keys, *(key for key, _value in baseline.node_settings("host", ipv6=True)), baseline.CONGESTION_CONTROL_KEY]


def make_odd(key: str) -> None:
    """Give a sysctl of the calling thread's namespace another value than it has, if it takes one."""
    try:
        value = sysctl.read(key)
        if key == baseline.CONGESTION_CONTROL_KEY:
            sysctl.write(key, "reno")
        elif key in _ODD_TEXT:
            sysctl.write(key, _ODD_TEXT[key])
        elif value.lstrip("-").isdigit():
            sysctl.write(key, str(1 - int(value) if value in ("0", "1") else int(value) + 1))
    except OSError:
        return  # not in this kernel, read only, or at the end of its range: then no host has it otherwise


def _in_odd_surroundings(unshare: Callable[[Clone], None]) -> Callable[[Clone], None]:
    def unshare_and_upset(kinds: Clone) -> None:
        unshare(kinds)
        if Clone.NET in kinds:
            for key in odd_keys():
                make_odd(key)

    return unshare_and_upset


def main() -> None:
    faults = Faults()
    for module, name in _CALLS:
        setattr(module, name, faults.counted(getattr(module, name)))
    setattr(registry, "create", faults.arm(registry.create))  # noqa: B010 - mypy minds the assignment
    nursery.main()


if __name__ == "__main__":
    main()
