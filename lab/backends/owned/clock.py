"""The time on packets: the kernel puts it there only while somebody wants it (SO_TIMESTAMPNS, socket(7))."""

from __future__ import annotations

import socket
import struct
import time

from lab.wait import wait_until

_SO_TIMESTAMPNS = 64
_TIME = struct.Struct("=qq")
_TICKS_WITHIN = 5.0  # seconds


def start() -> socket.socket:
    """Return a socket that makes the kernel put the time on every packet for as long as it is open.

    The kernel starts to do so a moment after the first such socket asks (`await_ticking`), so the first packets of
    a capture that asks for itself would carry the time at which they were read.
    """
    clock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    clock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return clock


def await_ticking() -> None:
    """Return once packets have their time, as far as the network namespace of the calling thread can tell by its `lo`.

    A packet that has none is given the time at which it is read, which is later than it was sent.

    Raises:
        WaitTimeoutError: the kernel does not begin.
    """
    with start() as probe:
        probe.bind(("127.0.0.1", 0))

        def is_stamped() -> bool:
            probe.sendto(b"", probe.getsockname())
            sent = time.clock_gettime_ns(time.CLOCK_REALTIME)
            _data, ((_level, _kind, stamp),), _flags, _address = probe.recvmsg(1, socket.CMSG_SPACE(_TIME.size))
            seconds, nanoseconds = _TIME.unpack(stamp)
            return int(seconds) * 1_000_000_000 + int(nanoseconds) <= sent

        wait_until(is_stamped, timeout=_TICKS_WITHIN, what="the kernel to put the time on packets")
