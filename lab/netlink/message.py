"""Netlink messages (netlink(7)): a header, a fixed part, and attributes one after the other; numbers in host order."""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port
ERROR, DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
_NUMBER = struct.Struct("=HHI")
_NUMBER_SIZE = 8


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Return a message that has no number yet."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body


def attribute(kind: int, *parts: bytes) -> bytes:
    """Return an attribute; its parts may be attributes in their turn."""
    payload = b"".join(parts)
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def number(kind: int, value: int) -> bytes:
    """Return an attribute of 32 bits."""
    return _NUMBER.pack(_NUMBER_SIZE, kind, value)


def text(kind: int, value: str) -> bytes:
    """Return an attribute that is a text."""
    return attribute(kind, value.encode() + b"\0")


def messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, sequence number, body) of each message in a datagram."""
    offset = 0
    while offset + HEADER.size <= len(datagram):
        length, kind, _flags, sequence, _port = HEADER.unpack_from(datagram, offset)
        yield kind, sequence, datagram[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def find(attributes: bytes, wanted: int) -> bytes:
    """Return the payload of the first attribute of a kind, empty if there is none."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, offset)
        if kind == wanted:
            return attributes[offset + _ATTRIBUTE.size : offset + length]
        offset += (max(length, _ATTRIBUTE.size) + 3) & ~3
    return b""
