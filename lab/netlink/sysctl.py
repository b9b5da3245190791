"""The network sysctls of the calling thread's namespaces (Documentation/networking/ip-sysctl.rst)."""

from __future__ import annotations

import os


def path(key: str) -> str:
    """Return the file of a dotted key: "net.ipv4.ip_forward" is /proc/sys/net/ipv4/ip_forward."""
    return "/proc/sys/" + key.replace(".", "/")


def read(key: str) -> str:
    """Return the value, its columns parted by single spaces.

    Raises:
        OSError: FileNotFoundError if this kernel has no such key.
    """
    descriptor = os.open(path(key), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return " ".join(os.read(descriptor, 4096).decode().split())
    finally:
        os.close(descriptor)


def write(key: str, value: str) -> None:
    """Set the value.

    Raises:
        OSError: no such key, no permission, or a value that the kernel refuses.
    """
    descriptor = os.open(path(key), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
