"""The extension headers of IPv6 (RFC 8200, section 4; authentication: RFC 4302; segments: RFC 8754)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import ClassVar

HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
AUTHENTICATION = 51
NO_NEXT_HEADER = 59
DESTINATION_OPTIONS = 60

SEGMENT_ROUTING = 4
"""The routing type whose list of addresses begins with the last one to visit."""

MOST_HEADERS = 32
"""A longer chain is a fault: no sender has a use for it, and a decoder must come to an end."""

_EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS})
_WITH_ADDRESSES = frozenset({0, 2, SEGMENT_ROUTING})
_PAD1 = 0
_FIXED = 8


@dataclass(frozen=True, slots=True)
class HeaderOption:
    """One option of a hop-by-hop or destination options header.

    Attributes:
        type: 0 is one byte of padding, 1 more of them, 5 router alert.
        data: what follows type and length.
    """

    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class HopByHop:
    """Options for every router on the way."""

    number: ClassVar[int] = HOP_BY_HOP

    options: tuple[HeaderOption, ...]


@dataclass(frozen=True, slots=True)
class DestinationOptions:
    """Options for the receiver."""

    number: ClassVar[int] = DESTINATION_OPTIONS

    options: tuple[HeaderOption, ...]


@dataclass(frozen=True, slots=True)
class Routing:
    """Nodes to visit.

    Attributes:
        addresses: decoded for the types 0, 2 and 4 (segment routing, where the last to visit comes first).
        data: what follows `segments_left`, undecoded.
    """

    number: ClassVar[int] = ROUTING

    type: int
    segments_left: int
    addresses: tuple[str, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Fragment:
    """The body is a part of a packet.

    Attributes:
        offset: bytes.
    """

    number: ClassVar[int] = FRAGMENT

    offset: int
    more: bool
    id: int


@dataclass(frozen=True, slots=True)
class Authentication:
    """IPsec's authentication header.

    Attributes:
        spi: security parameters index.
        icv: integrity check value.
    """

    number: ClassVar[int] = AUTHENTICATION

    spi: int
    sequence: int
    icv: bytes


Extension = HopByHop | DestinationOptions | Routing | Fragment | Authentication


@dataclass(frozen=True, slots=True)
class Chain:
    """All extension headers of a packet.

    Attributes:
        protocol: what follows them.
        end: where in the frame the body begins.
    """

    protocol: int
    extensions: tuple[Extension, ...]
    end: int


def decode(data: bytes, start: int, end: int, next_header: int, faults: list[str]) -> Chain:
    """Decode the chain from `start` to at most `end`, up to the first header that is not an extension header.

    A chain that is cut off or too long ends with no next header, so nothing in it is taken for a body.
    A later fragment's chain ends at its fragment header (RFC 8200, section 4.5).
    """
    extensions: list[Extension] = []
    while next_header in _EXTENSIONS:
        if len(extensions) == MOST_HEADERS:
            faults.append(f"ip: more than {MOST_HEADERS} extension headers")
            return Chain(NO_NEXT_HEADER, tuple(extensions), end)
        size = _size(data, start, end, next_header)
        if end - start < size:
            faults.append(f"ip: extension header {next_header} cut off after {end - start} of {size} bytes")
            return Chain(NO_NEXT_HEADER, tuple(extensions), end)
        extension = _extension(data[start : start + size], next_header, faults)
        extensions.append(extension)
        next_header = data[start]
        start += size
        if isinstance(extension, Fragment) and extension.offset > 0:
            break
    return Chain(next_header, tuple(extensions), start)


def _size(data: bytes, start: int, end: int, number: int) -> int:
    if number == FRAGMENT or start + 2 > end:
        return _FIXED
    length = data[start + 1]
    return (length + 2) * 4 if number == AUTHENTICATION else (length + 1) * 8


def _extension(header: bytes, number: int, faults: list[str]) -> Extension:
    if number == HOP_BY_HOP:
        return HopByHop(_options(header[2:], faults))
    if number == DESTINATION_OPTIONS:
        return DestinationOptions(_options(header[2:], faults))
    if number == ROUTING:
        return _routing(header, faults)
    if number == FRAGMENT:
        field, id_ = struct.unpack_from("!HI", header, 2)
        return Fragment(field & 0xFFF8, bool(field & 1), id_)
    return _authentication(header, faults)


def _routing(header: bytes, faults: list[str]) -> Routing:
    type_, segments_left = header[2:4]
    addresses: tuple[str, ...] = ()
    if type_ in _WITH_ADDRESSES:
        # A segment routing header may carry options behind its addresses; it says the last one's index.
        count = header[4] + 1 if type_ == SEGMENT_ROUTING else (len(header) - _FIXED) // 16
        end = _FIXED + 16 * count
        if end > len(header):
            faults.append(f"ip: routing header of {len(header)} bytes for {count} addresses")
        else:
            slots = range(_FIXED, end, 16)
            addresses = tuple(socket.inet_ntop(socket.AF_INET6, header[at : at + 16]) for at in slots)
        if segments_left > len(addresses):
            faults.append(f"ip: routing header has {segments_left} segments left of {len(addresses)}")
    return Routing(type_, segments_left, addresses, header[4:])


def _authentication(header: bytes, faults: list[str]) -> Authentication:
    if len(header) < 12:  # noqa: PLR2004 - RFC 4302, section 2: the fixed part
        faults.append(f"ip: authentication header of {len(header)} bytes")
        return Authentication(0, 0, b"")
    spi, sequence = struct.unpack_from("!II", header, 4)
    return Authentication(spi, sequence, header[12:])


def _options(field: bytes, faults: list[str]) -> tuple[HeaderOption, ...]:
    options = []
    start = 0
    while start < len(field):
        type_ = field[start]
        if type_ == _PAD1:
            options.append(HeaderOption(_PAD1, b""))
            start += 1
            continue
        length = field[start + 1] if start + 1 < len(field) else len(field)
        end = start + 2 + length
        if end > len(field):
            faults.append(f"ip: option {type_} does not fit its extension header")
            break
        options.append(HeaderOption(type_, field[start + 2 : end]))
        start = end
    return tuple(options)
