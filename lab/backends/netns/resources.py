"""Limits, buffers and the process list, as the owner of a lab handles them."""

from __future__ import annotations

import os
import resource
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

from lab.backends.netns.build import Namespaces
from lab.wait import wait_until

# What a login gives a program, whatever the harness itself was started with.
_NODE_DESCRIPTORS = 1024
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 64
_TIME = struct.Struct("=qq")
_STAMPS_WITHIN = 5.0  # seconds


def allow_many_descriptors() -> None:
    """Let the owner hold as many descriptors as it may: four per node."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def restore_limits() -> None:
    """Give a node's process the usual limit on descriptors again; the hard limit stays as it is."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_NODE_DESCRIPTORS, hard), hard))


def enlarge_receive_buffer(made: socket.socket, size: int) -> None:
    """Ask for a receive buffer of `size` bytes; an ordinary user gets as much as the machine's rmem_max allows."""
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def packet_clock() -> socket.socket:
    """Return a socket that makes the kernel put the time on every packet for as long as it is open.

    The kernel starts to do so a moment after the first such socket asks (`await_packet_clock`), so the first packets of
    a capture that asks for itself would carry the time at which they were read.
    """
    clock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    clock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return clock


def await_packet_clock() -> None:
    """Return once packets have their time, as far as the network namespace of the calling thread can tell by its `lo`.

    A packet that has none is given the time at which it is read, which is later than it was sent.

    Raises:
        WaitTimeoutError: the kernel does not begin.
    """
    with packet_clock() as probe:
        probe.bind(("127.0.0.1", 0))

        def is_stamped() -> bool:
            probe.sendto(b"", probe.getsockname())
            sent = time.clock_gettime_ns(time.CLOCK_REALTIME)
            _data, ((_level, _kind, stamp),), _flags, _address = probe.recvmsg(1, socket.CMSG_SPACE(_TIME.size))
            seconds, nanoseconds = _TIME.unpack(stamp)
            return int(seconds) * 1_000_000_000 + int(nanoseconds) <= sent

        wait_until(is_stamped, timeout=_STAMPS_WITHIN, what="the kernel to put the time on packets")


def processes(nodes: Mapping[str, Namespaces]) -> list[dict[str, Any]]:
    """Return every process of the lab: {pid, node, command}; pids are those of the lab's own PID namespace."""
    inodes = {os.fstat(node.net).st_ino: name for name, node in nodes.items()}
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only
        if not entry.isdigit():
            continue
        try:
            node = inodes.get(os.stat(f"/proc/{entry}/ns/net").st_ino)  # noqa: PTH116 - names only
            with open(f"/proc/{entry}/cmdline", "rb") as file:  # noqa: PTH123 - names only
                line = file.read(4096)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile
        if node:
            words = line.rstrip(b"\0").split(b"\0")
            found.append({"pid": int(entry), "node": node, "command": [os.fsdecode(word) for word in words]})
    return sorted(found, key=lambda process: process["pid"])
