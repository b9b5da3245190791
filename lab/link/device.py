"""The ends of a wire: devices whose frames this process gives and takes (tuntap.rst, packet(7))."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass

_TUN = "/dev/net/tun"
_TUNSETIFF, _TAP, _NO_INFORMATION = 0x400454CA, 0x0002, 0x1000
_EVERY_PROTOCOL = 0x0003  # ETH_P_ALL
_SOL_PACKET, _IGNORE_OUTGOING = 263, 23
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_BUFFER = 16 << 20
_NO_TAPS = {errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EACCES, errno.EPERM, errno.ENOTTY, errno.EINVAL}


@dataclass(frozen=True, slots=True)
class Ends:
    """The two devices of a wire: descriptors that give and take one whole Ethernet frame at a time.

    Attributes:
        node: of the node's interface.
        port: of the switch's port.
        largest: bytes of the largest frame.
    """

    node: int
    port: int
    largest: int

    def close(self) -> None:
        """Close both."""
        os.close(self.node)
        os.close(self.port)


def tap(name: str) -> int | None:
    """Make a TAP device, down, in the calling thread's network namespace; it is gone when its descriptor closes.

    Returns:
        The descriptor; None where this user may not make any, or the kernel has none.
    """
    try:
        descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP | _NO_INFORMATION))
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        if error.errno in _NO_TAPS:
            return None
        raise
    return descriptor


def packet_socket(interface: str) -> int:
    """Return a socket that has every frame which arrives on an interface, and sends frames out of it.

    Raises:
        OSError: this user may not, or there is no such interface.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as made:
        made.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        for forced, asked in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            made.setsockopt(socket.SOL_SOCKET, asked, _BUFFER)  # as much as the machine allows anyone
            with contextlib.suppress(PermissionError):
                made.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
        made.bind((interface, _EVERY_PROTOCOL))
        return made.detach()
