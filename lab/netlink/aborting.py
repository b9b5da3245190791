"""Connections that are forgotten, as a machine forgets them that loses its power (sock_diag(7), SOCK_DESTROY)."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from lab.errors import NotSupportedError

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY, _DESTROY = 20, 21  # SOCK_DIAG_BY_FAMILY, SOCK_DESTROY
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_QUERY = struct.Struct("=BBBxI")  # the fixed part of struct inet_diag_req_v2
_ID_SIZE = 48  # struct inet_diag_sockid
_ID_OFFSET = 4  # of the id in struct inet_diag_msg
_NO_ID = bytes(_ID_SIZE)
_ALL_STATES = 0xFFFFFFFF
_GONE = (0, errno.ENOENT)


def abort_connections(protocol: int = socket.IPPROTO_TCP) -> None:
    """Drop every TCP socket of the calling thread's network namespace, without waiting for anybody.

    The kernel sends a reset for a live connection: take the interfaces down first if nobody is to hear of it.

    Args:
        protocol: another one whose sockets are meant.

    Raises:
        NotSupportedError: this kernel cannot.
    """
    with _diagnostics() as channel:
        for family in (socket.AF_INET, socket.AF_INET6):
            for identity in list(_connections(channel, family, protocol)):
                _check(_destroy(channel, family, protocol, identity))


def check_abort() -> None:
    """Return if `abort_connections` will work.

    Raises:
        NotSupportedError: this kernel cannot.
    """
    with _diagnostics() as channel:
        _check(_destroy(channel, socket.AF_INET, socket.IPPROTO_TCP, _NO_ID))


def _diagnostics() -> socket.socket:
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
    channel.bind((0, 0))
    return channel


def _connections(channel: socket.socket, family: int, protocol: int) -> Iterator[bytes]:
    """Yield the kernel's name of each socket of a protocol, listening and closing ones too."""
    channel.sendall(_request(_BY_FAMILY, _DUMP, family, protocol, _NO_ID))
    while True:
        for kind, body in _messages(channel.recv(1 << 17)):
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                _check(_error(body))
                return
            yield body[_ID_OFFSET : _ID_OFFSET + _ID_SIZE]


def _destroy(channel: socket.socket, family: int, protocol: int, identity: bytes) -> int:
    """Return the kernel's answer: 0 or an errno."""
    channel.sendall(_request(_DESTROY, _ACK, family, protocol, identity))
    ((_kind, body),) = _messages(channel.recv(1 << 17))
    return _error(body)


def _check(code: int) -> None:
    if code == errno.EOPNOTSUPP:
        msg = "this kernel cannot make a node forget its connections, which kill needs: CONFIG_INET_DIAG_DESTROY"
        raise NotSupportedError(msg)
    if code not in _GONE:
        raise OSError(code, f"abort of a connection: {os.strerror(code)}")


def _error(body: bytes) -> int:
    (negative_errno,) = struct.unpack_from("=i", body)
    return -int(negative_errno)


def _request(kind: int, flags: int, family: int, protocol: int, identity: bytes) -> bytes:
    body = _QUERY.pack(family, protocol, 0, _ALL_STATES) + identity
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, 1, 0) + body


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, _flags, _number, _port = _HEADER.unpack_from(datagram, offset)
        yield kind, datagram[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3
