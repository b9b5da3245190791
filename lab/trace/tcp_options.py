"""The options of TCP. Each class names the document that defines it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from lab.trace.options import END, NOP, walk


@dataclass(frozen=True, slots=True)
class EndOfOptions:
    """The rest of the options field is padding (RFC 9293, section 3.2)."""

    kind: ClassVar[int] = END


@dataclass(frozen=True, slots=True)
class NoOperation:
    """One byte of padding between options (RFC 9293, section 3.2)."""

    kind: ClassVar[int] = NOP


@dataclass(frozen=True, slots=True)
class MaximumSegmentSize:
    """The largest payload the sender can receive, in bytes (RFC 9293, section 3.2)."""

    kind: ClassVar[int] = 2

    value: int


@dataclass(frozen=True, slots=True)
class WindowScale:
    """The sender's windows are to be shifted left by this many bits (RFC 7323, section 2)."""

    kind: ClassVar[int] = 3

    shift: int


@dataclass(frozen=True, slots=True)
class SackPermitted:
    """The sender understands selective acknowledgments (RFC 2018, section 2)."""

    kind: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class Sack:
    """Data that arrived out of order (RFC 2018, section 3).

    Attributes:
        blocks: absolute sequence numbers (first, behind the last).
    """

    kind: ClassVar[int] = 5

    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Timestamps:
    """The sender's clock, and the receiver's as the sender last saw it (RFC 7323, section 3)."""

    kind: ClassVar[int] = 8

    value: int
    echo: int


@dataclass(frozen=True, slots=True)
class MD5Signature:
    """A digest of segment and shared key (RFC 2385)."""

    kind: ClassVar[int] = 19

    digest: bytes


@dataclass(frozen=True, slots=True)
class UserTimeout:
    """How long the sender lets data stay unacknowledged, in seconds (RFC 5482)."""

    kind: ClassVar[int] = 28

    seconds: int


@dataclass(frozen=True, slots=True)
class Authentication:
    """TCP-AO (RFC 5925, section 2.2)."""

    kind: ClassVar[int] = 29

    key_id: int
    next_key_id: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class Multipath:
    """MPTCP (RFC 8684, section 3).

    Attributes:
        subtype: 0 MP_CAPABLE, 1 MP_JOIN, 2 DSS, ...
        data: what follows kind and length, the subtype's four bits included.
    """

    kind: ClassVar[int] = 30

    subtype: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FastOpen:
    """TCP Fast Open (RFC 7413, section 4.1.1).

    Attributes:
        cookie: empty is the request for one.
    """

    kind: ClassVar[int] = 34

    cookie: bytes


@dataclass(frozen=True, slots=True)
class UnknownOption:
    """An option that is not decoded, or one of a wrong size.

    Attributes:
        data: what follows kind and length.
    """

    kind: int
    data: bytes


Option = (
    EndOfOptions
    | NoOperation
    | MaximumSegmentSize
    | WindowScale
    | SackPermitted
    | Sack
    | Timestamps
    | MD5Signature
    | UserTimeout
    | Authentication
    | Multipath
    | FastOpen
    | UnknownOption
)

_TIMESTAMPS = struct.Struct("!II")
_NOP_NOP_TIMESTAMPS = struct.Struct("!4sII")
_NOP_NOP_TIMESTAMPS_PREFIX = b"\x01\x01\x08\x0a"
_NOP = NoOperation()


def decode(options: bytes, faults: list[str]) -> tuple[Option, ...]:
    """Decode an options field; an option of a wrong size is kept raw and is a fault."""
    # Nearly every segment of a connection has exactly these twelve bytes (RFC 7323, appendix A);
    # knowing them at sight halves the time that decoding a whole capture takes.
    if len(options) == _NOP_NOP_TIMESTAMPS.size and options.startswith(_NOP_NOP_TIMESTAMPS_PREFIX):
        _, value, echo = _NOP_NOP_TIMESTAMPS.unpack(options)
        return (_NOP, _NOP, Timestamps(value, echo))
    return tuple(_option(kind, value, faults) for kind, value in walk(options, "tcp", faults))


def _option(kind: int, value: bytes, faults: list[str]) -> Option:
    if kind not in _DECODERS:
        return UnknownOption(kind, value)
    option = _DECODERS[kind](value)
    if option is None:
        faults.append(f"tcp: option {kind} has length {len(value) + 2}")
        return UnknownOption(kind, value)
    return option


def _fixed(size: int, make: Callable[[bytes], Option]) -> Callable[[bytes], Option | None]:
    return lambda value: make(value) if len(value) == size else None


def _sack(value: bytes) -> Option | None:
    if not value or len(value) % 8:
        return None
    return Sack(tuple((left, right) for left, right in struct.iter_unpack("!II", value)))


def _user_timeout(value: bytes) -> Option:
    number = int.from_bytes(value, "big")
    minutes = number & 0x8000
    return UserTimeout((number & 0x7FFF) * (60 if minutes else 1))


def _authentication(value: bytes) -> Option | None:
    return Authentication(value[0], value[1], value[2:]) if len(value) >= 2 else None  # noqa: PLR2004 - two key ids


def _multipath(value: bytes) -> Option | None:
    return Multipath(value[0] >> 4, value) if value else None


_DECODERS: dict[int, Callable[[bytes], Option | None]] = {
    EndOfOptions.kind: lambda _: EndOfOptions(),
    NoOperation.kind: lambda _: _NOP,
    MaximumSegmentSize.kind: _fixed(2, lambda value: MaximumSegmentSize(int.from_bytes(value, "big"))),
    WindowScale.kind: _fixed(1, lambda value: WindowScale(value[0])),
    SackPermitted.kind: _fixed(0, lambda _: SackPermitted()),
    Sack.kind: _sack,
    Timestamps.kind: _fixed(8, lambda value: Timestamps(*_TIMESTAMPS.unpack(value))),
    MD5Signature.kind: _fixed(16, MD5Signature),
    UserTimeout.kind: _fixed(2, _user_timeout),
    Authentication.kind: _authentication,
    Multipath.kind: _multipath,
    FastOpen.kind: FastOpen,
}
