"""Reading pcapng, the format that Wireshark saves in (IETF draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"\x0a\x0d\x0d\x0a"

_BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_INTERFACE = 1
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_LARGEST = 1 << 24
_SMALLEST = 12
_ETHERNET = 1
_END_OF_OPTIONS = 0
_TIME_RESOLUTION = 9
_TIME_OFFSET = 14


@dataclass(frozen=True, slots=True)
class _Interface:
    linktype: int
    snaplen: int
    ticks_per_second: int
    offset_seconds: int


def records(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Yield (nanoseconds since 1970, captured bytes, length on the wire) of each frame.

    A frame of a simple packet block has no time and gets 0.

    Args:
        file: read up to behind `MAGIC`.

    Raises:
        ValueError: the file is damaged, or a frame is not Ethernet; says which block.
    """
    interfaces: list[_Interface] = []
    order = ""
    number = 1
    kind = MAGIC
    while kind:
        try:
            if kind == MAGIC:
                order, interfaces = _section(file), []
            else:
                yield from _block(struct.unpack(order + "I", kind)[0], _body(file, order), order, interfaces)
        except (struct.error, IndexError) as error:
            raise ValueError(f"damaged: block {number} is cut off or has wrong lengths") from error
        kind = file.read(4)
        number += 1


def _section(file: BinaryIO) -> str:
    """Read the rest of a section header block, and return its byte order."""
    length, order_magic = file.read(4), file.read(4)
    if order_magic not in _BYTE_ORDERS:
        raise ValueError("damaged: a section header without byte order")
    order = _BYTE_ORDERS[order_magic]
    _exactly(file, struct.unpack(order + "I", length)[0] - _SMALLEST)
    return order


def _body(file: BinaryIO, order: str) -> bytes:
    (length,) = struct.unpack(order + "I", file.read(4))
    return _exactly(file, length - 8)[:-4]


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size) if 4 <= size <= _LARGEST else b""  # noqa: PLR2004 - the trailing length is always there
    if not data or len(data) < size:
        raise struct.error
    return data


def _block(kind: int, body: bytes, order: str, interfaces: list[_Interface]) -> Iterator[tuple[int, bytes, int]]:
    """Note an interface, or yield a packet; blocks of other kinds are passed over."""
    if kind == _INTERFACE:
        interfaces.append(_interface(body, order))
    elif kind == _ENHANCED_PACKET:
        index, high, low, captured, length = struct.unpack_from(order + "IIIII", body)
        interface = _ethernet(interfaces[index])
        ticks = high << 32 | low
        time_ns = interface.offset_seconds * 1_000_000_000 + ticks * 1_000_000_000 // interface.ticks_per_second
        yield time_ns, _frame(body, 20, captured), max(length, captured)
    elif kind == _SIMPLE_PACKET:
        (length,) = struct.unpack_from(order + "I", body)
        snaplen = _ethernet(interfaces[0]).snaplen
        yield 0, _frame(body, 4, min(length, snaplen or length)), length


def _ethernet(interface: _Interface) -> _Interface:
    if interface.linktype != _ETHERNET:
        raise ValueError(f"link type {interface.linktype} is not Ethernet ({_ETHERNET})")
    return interface


def _frame(body: bytes, start: int, size: int) -> bytes:
    data = body[start : start + size]
    if len(data) < size:
        raise struct.error
    return data


def _interface(body: bytes, order: str) -> _Interface:
    linktype, snaplen = struct.unpack_from(order + "HxxI", body)
    ticks_per_second, offset_seconds = 1_000_000, 0
    start = 8
    while start + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, start)
        if code == _END_OF_OPTIONS:
            break
        if code == _TIME_RESOLUTION:
            exponent = body[start + 4]
            ticks_per_second = 2 ** (exponent & 0x7F) if exponent & 0x80 else 10**exponent
        elif code == _TIME_OFFSET:
            (offset_seconds,) = struct.unpack_from(order + "q", body, start + 4)
        start += 4 + (length + 3) // 4 * 4
    return _Interface(linktype, snaplen, ticks_per_second, offset_seconds)
