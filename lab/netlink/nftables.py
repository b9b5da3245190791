"""nftables: batches of changes for the calling thread's network namespace (linux/netfilter/nf_tables.h)."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence

ANY, BRIDGE = 0, 7  # NFPROTO_UNSPEC, NFPROTO_BRIDGE
NEWTABLE, DELTABLE, NEWCHAIN, NEWRULE, NEWSET, NEWSETELEM = 0, 2, 3, 6, 9, 12
MISSING = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT)
"""What a kernel without nftables, or without them for this family, answers."""

_NETLINK_NETFILTER = 12
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NF_TABLES = 10  # the subsystem; a message's type is subsystem << 8 | kind
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_NLMSG_ERROR = 2
_NESTED = 0x8000
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("!BBH")  # struct nfgenmsg


def commit(family: int, messages: Sequence[tuple[int, bytes]]) -> None:
    """Make changes, each a kind of message and its attributes: all of them or none.

    Raises:
        OSError: the kernel refuses.
    """
    data = [_edge(_BATCH_BEGIN)]
    data += [
        _message(family, _NF_TABLES << 8 | kind, _CREATE | (_ACK if sequence == len(messages) else 0), sequence, body)
        for sequence, (kind, body) in enumerate(messages, 1)
    ]
    data.append(_edge(_BATCH_END))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as channel:
        channel.bind((0, 0))
        channel.sendall(b"".join(data))
        _await(channel, len(messages))


def flush() -> None:
    """Remove every table of every family; nothing if this kernel has no nftables.

    Raises:
        OSError: the kernel refuses.
    """
    try:
        commit(ANY, [(DELTABLE, b"")])
    except OSError as error:
        if error.errno not in MISSING:
            raise


def attribute(kind: int, payload: bytes) -> bytes:
    """Return an attribute (struct nlattr)."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that is made of attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def number(kind: int, value: int) -> bytes:
    """Return an attribute that is a number."""
    return attribute(kind, struct.pack("!I", value))


def text(kind: int, value: str) -> bytes:
    """Return an attribute that is text."""
    return attribute(kind, value.encode() + b"\0")


def _message(family: int, kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    data = _FAMILY.pack(family, 0, 0) + body
    return _HEADER.pack(_HEADER.size + len(data), kind, flags | _REQUEST, sequence, 0) + data


def _edge(kind: int) -> bytes:
    """Return a message that a batch begins or ends with: it names the subsystem."""
    data = _FAMILY.pack(0, 0, _NF_TABLES)
    return _HEADER.pack(_HEADER.size + len(data), kind, _REQUEST, 0, 0) + data


def _await(channel: socket.socket, last: int) -> None:
    """Read up to the answer to the last message, and raise the first refusal."""
    refusal = 0
    while True:
        datagram = channel.recv(1 << 17)
        offset = 0
        while offset + _HEADER.size <= len(datagram):
            length, kind, _flags, sequence, _port = _HEADER.unpack_from(datagram, offset)
            if kind == _NLMSG_ERROR:
                (negative_errno,) = struct.unpack_from("=i", datagram, offset + _HEADER.size)
                refusal = refusal or -negative_errno
                if sequence in (0, last):
                    if refusal:
                        raise OSError(refusal, f"nftables: {os.strerror(refusal)}")
                    return
            offset += (length + 3) & ~3
