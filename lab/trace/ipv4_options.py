"""The options of IPv4 (RFC 791, section 3.1; router alert: RFC 2113)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from lab.trace.options import END, NOP, walk


@dataclass(frozen=True, slots=True)
class EndOfOptions:
    """The rest of the options field is padding."""

    kind: ClassVar[int] = END


@dataclass(frozen=True, slots=True)
class NoOperation:
    """One byte of padding between options."""

    kind: ClassVar[int] = NOP


@dataclass(frozen=True, slots=True)
class _Route:
    """A list of addresses and the place of the next one to be used.

    Attributes:
        pointer: counted in bytes from the option's first, which is 1; 4 is the first address.
        addresses: all slots, used or not.
    """

    pointer: int
    addresses: tuple[str, ...]

    @property
    def used(self) -> tuple[str, ...]:
        """The addresses before the pointer: the routers already passed."""
        return self.addresses[: max(0, (self.pointer - 4) // 4)]


@dataclass(frozen=True, slots=True)
class RecordRoute(_Route):
    """Each router adds the address it forwards from."""

    kind: ClassVar[int] = 7


@dataclass(frozen=True, slots=True)
class LooseSourceRoute(_Route):
    """Routers to visit, others between them allowed."""

    kind: ClassVar[int] = 131


@dataclass(frozen=True, slots=True)
class StrictSourceRoute(_Route):
    """Routers to visit, and none between them."""

    kind: ClassVar[int] = 137


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Each router adds the time.

    Attributes:
        pointer: counted in bytes from the option's first, which is 1; 5 is the first entry.
        overflow: how many routers found no room.
        flag: 0 times only, 1 addresses and times, 3 times of the addresses that the sender named.
        entries: all slots as (address, milliseconds since midnight UTC); the address is None with flag 0.
    """

    kind: ClassVar[int] = 68

    pointer: int
    overflow: int
    flag: int
    entries: tuple[tuple[str | None, int], ...]


@dataclass(frozen=True, slots=True)
class RouterAlert:
    """Routers are asked to look into the packet."""

    kind: ClassVar[int] = 148

    value: int


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
    | RecordRoute
    | LooseSourceRoute
    | StrictSourceRoute
    | Timestamp
    | RouterAlert
    | UnknownOption
)


def decode(options: bytes, faults: list[str]) -> tuple[Option, ...]:
    """Decode an options field; an option of a wrong size is kept raw and is a fault."""
    return tuple(_option(kind, value, faults) for kind, value in walk(options, "ip", faults))


def _option(kind: int, value: bytes, faults: list[str]) -> Option:
    if kind not in _DECODERS:
        return UnknownOption(kind, value)
    option = _DECODERS[kind](value)
    if option is None:
        faults.append(f"ip: option {kind} has length {len(value) + 2}")
        return UnknownOption(kind, value)
    return option


def _addresses(route: bytes) -> tuple[str, ...]:
    return tuple(socket.inet_ntoa(route[at : at + 4]) for at in range(0, len(route), 4))


def _route(make: Callable[[int, tuple[str, ...]], Option]) -> Callable[[bytes], Option | None]:
    def decode_route(value: bytes) -> Option | None:
        return make(value[0], _addresses(value[1:])) if len(value) % 4 == 1 else None

    return decode_route


def _timestamp(value: bytes) -> Option | None:
    if len(value) < 2:  # noqa: PLR2004 - pointer and overflow
        return None
    pointer, second = value[:2]
    overflow, flag = second >> 4, second & 0x0F
    slots = value[2:]
    size = 8 if flag in {1, 3} else 4
    if len(slots) % size:
        return None
    if size == 4:  # noqa: PLR2004 - a time without its address
        return Timestamp(pointer, overflow, flag, tuple((None, time) for (time,) in struct.iter_unpack("!I", slots)))
    pairs = struct.iter_unpack("!4sI", slots)
    return Timestamp(pointer, overflow, flag, tuple((socket.inet_ntoa(address), time) for address, time in pairs))


def _router_alert(value: bytes) -> Option | None:
    return RouterAlert(int.from_bytes(value, "big")) if len(value) == 2 else None  # noqa: PLR2004 - one 16-bit number


_DECODERS: dict[int, Callable[[bytes], Option | None]] = {
    EndOfOptions.kind: lambda _: EndOfOptions(),
    NoOperation.kind: lambda _: NoOperation(),
    RecordRoute.kind: _route(RecordRoute),
    LooseSourceRoute.kind: _route(LooseSourceRoute),
    StrictSourceRoute.kind: _route(StrictSourceRoute),
    Timestamp.kind: _timestamp,
    RouterAlert.kind: _router_alert,
}
