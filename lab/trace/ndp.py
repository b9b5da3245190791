"""The options of IPv6 neighbor discovery (RFC 4861, section 4.6; route: RFC 4191; DNS: RFC 8106)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

_PREFIX = struct.Struct("!BBII4x16s")


@dataclass(frozen=True, slots=True)
class SourceLinkAddress:
    """The sender's link-layer address."""

    type: ClassVar[int] = 1

    mac: str


@dataclass(frozen=True, slots=True)
class TargetLinkAddress:
    """The target's link-layer address."""

    type: ClassVar[int] = 2

    mac: str


@dataclass(frozen=True, slots=True)
class PrefixInformation:
    """A prefix of the link.

    Attributes:
        length: bits of the prefix.
        valid_lifetime: seconds, as `preferred_lifetime`; 2**32 - 1 is for ever.
    """

    type: ClassVar[int] = 3

    prefix: str
    length: int
    on_link: bool
    autonomous: bool
    valid_lifetime: int
    preferred_lifetime: int


@dataclass(frozen=True, slots=True)
class RedirectedHeader:
    """The beginning of the packet that caused a redirect, raw; the message has it decoded as `quoted`."""

    type: ClassVar[int] = 4

    data: bytes


@dataclass(frozen=True, slots=True)
class LinkMtu:
    """The MTU of the link, in bytes."""

    type: ClassVar[int] = 5

    value: int


@dataclass(frozen=True, slots=True)
class Nonce:
    """Tells a node's own looped-back solicitation from another's (RFC 3971, RFC 7527)."""

    type: ClassVar[int] = 14

    data: bytes


@dataclass(frozen=True, slots=True)
class RouteInformation:
    """A route by the sender.

    Attributes:
        preference: two bits: 1 high, 0 medium, 3 low.
        lifetime: seconds.
    """

    type: ClassVar[int] = 24

    prefix: str
    length: int
    preference: int
    lifetime: int


@dataclass(frozen=True, slots=True)
class DnsServers:
    """Recursive DNS servers, for `lifetime` seconds."""

    type: ClassVar[int] = 25

    lifetime: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnknownOption:
    """An option that is not decoded, or one of a wrong size.

    Attributes:
        data: what follows type and length.
    """

    type: int
    data: bytes


Option = (
    SourceLinkAddress
    | TargetLinkAddress
    | PrefixInformation
    | RedirectedHeader
    | LinkMtu
    | Nonce
    | RouteInformation
    | DnsServers
    | UnknownOption
)


def decode(field: bytes, faults: list[str]) -> tuple[Option, ...]:
    """Decode the options behind a message; stops at the first whose length leads nowhere."""
    options: list[Option] = []
    start = 0
    while start < len(field):
        type_ = field[start]
        size = field[start + 1] * 8 if start + 1 < len(field) else 0
        if size == 0:
            faults.append(f"icmp6: option {type_} has length 0")
            break
        if start + size > len(field):
            faults.append(f"icmp6: option {type_} of {size} bytes has only {len(field) - start}")
            break
        options.append(_option(type_, field[start + 2 : start + size], faults))
        start += size
    return tuple(options)


def _option(type_: int, value: bytes, faults: list[str]) -> Option:
    if type_ not in _DECODERS:
        return UnknownOption(type_, value)
    option = _DECODERS[type_](value)
    if option is None:
        faults.append(f"icmp6: option {type_} has length {(len(value) + 2) // 8}")
        return UnknownOption(type_, value)
    return option


def _ipv6(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6, address)


def _prefix(value: bytes) -> Option | None:
    if len(value) != _PREFIX.size:
        return None
    length, flags, valid, preferred, prefix = _PREFIX.unpack(value)
    return PrefixInformation(_ipv6(prefix), length, bool(flags & 0x80), bool(flags & 0x40), valid, preferred)


def _mtu(value: bytes) -> Option | None:
    return LinkMtu(int.from_bytes(value[2:], "big")) if len(value) == 6 else None  # noqa: PLR2004 - RFC 4861, 4.6.4


def _route(value: bytes) -> Option | None:
    if len(value) > 22:  # noqa: PLR2004 - a whole address is the longest prefix
        return None
    length, flags, lifetime = struct.unpack_from("!BBI", value)
    return RouteInformation(_ipv6(value[6:].ljust(16, b"\0")), length, flags >> 3 & 3, lifetime)


def _dns_servers(value: bytes) -> Option | None:
    addresses = value[6:]
    if not addresses or len(addresses) % 16:
        return None
    lifetime = int.from_bytes(value[2:6], "big")
    return DnsServers(lifetime, tuple(_ipv6(addresses[at : at + 16]) for at in range(0, len(addresses), 16)))


_DECODERS: dict[int, Callable[[bytes], Option | None]] = {
    SourceLinkAddress.type: lambda value: SourceLinkAddress(value.hex(":")),
    TargetLinkAddress.type: lambda value: TargetLinkAddress(value.hex(":")),
    PrefixInformation.type: _prefix,
    RedirectedHeader.type: lambda value: RedirectedHeader(value[6:]),
    LinkMtu.type: _mtu,
    Nonce.type: Nonce,
    RouteInformation.type: _route,
    DnsServers.type: _dns_servers,
}
