"""ICMPv6 (RFC 4443) with neighbor discovery (RFC 4861) and multicast listener discovery."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.trace import mld, ndp
from lab.trace.icmp import Quote

if TYPE_CHECKING:
    from lab.trace.quote import Quoted

UNREACHABLE = 1
PACKET_TOO_BIG = 2
TIME_EXCEEDED = 3
PARAMETER_PROBLEM = 4
ECHO_REQUEST = 128
ECHO_REPLY = 129
ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134
NEIGHBOR_SOLICITATION = 135
NEIGHBOR_ADVERTISEMENT = 136
REDIRECT = 137

HEADER_LENGTH = 8

_HEADER = struct.Struct("!BBH")
_ERRORS = frozenset({UNREACHABLE, PACKET_TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM})
_ADDRESS = 16

_DISCOVERY_LENGTHS = {
    ROUTER_SOLICITATION: 8,
    ROUTER_ADVERTISEMENT: 16,
    NEIGHBOR_SOLICITATION: 24,
    NEIGHBOR_ADVERTISEMENT: 24,
    REDIRECT: 40,
}
"""Where the options of each neighbor discovery message begin."""


@dataclass(frozen=True, slots=True)
class RouterAdvertisement:
    """What a router tells of itself (RFC 4861, section 4.2).

    Attributes:
        preference: two bits: 1 high, 0 medium, 3 low (RFC 4191).
        lifetime: seconds as a default router.
        reachable_time: milliseconds, as `retransmit_time`; 0 is unspecified.
    """

    hop_limit: int
    managed: bool
    other: bool
    preference: int
    lifetime: int
    reachable_time: int
    retransmit_time: int


@dataclass(frozen=True, slots=True)
class NeighborFlags:
    """The flags of a neighbor advertisement (RFC 4861, section 4.4)."""

    router: bool
    solicited: bool
    override: bool


@dataclass(frozen=True, slots=True)
class ICMP6:
    """One message. What its type has not is None or empty.

    Attributes:
        id: of echo, as `seq`.
        mtu: of "packet too big".
        pointer: of a parameter problem: the byte of the quoted packet that is wrong.
        target: of neighbor discovery: whom it is about; in a redirect the better next hop.
        destination: of a redirect: whose next hop changes.
        options: of neighbor discovery.
        quoted: of an error or redirect: the packet it is about.
    """

    type: int
    code: int
    checksum: int
    id: int | None = None
    seq: int | None = None
    mtu: int | None = None
    pointer: int | None = None
    target: str | None = None
    destination: str | None = None
    router: RouterAdvertisement | None = None
    neighbor: NeighborFlags | None = None
    options: tuple[ndp.Option, ...] = ()
    mld: mld.MLD | None = None
    quoted: Quoted | None = None


def decode(message: bytes, faults: list[str], quote: Quote) -> ICMP6 | None:
    """Decode one message; None where its header is cut off."""
    if len(message) < HEADER_LENGTH:
        faults.append(f"icmp6: cut off after {len(message)} of {HEADER_LENGTH} bytes")
        return None
    head: tuple[int, int, int] = _HEADER.unpack_from(message)
    type_ = head[0]
    if type_ in _ERRORS:
        return _error(head, message, faults, quote)
    if type_ in {ECHO_REQUEST, ECHO_REPLY}:
        id_, seq = struct.unpack_from("!HH", message, 4)
        return ICMP6(*head, id=id_, seq=seq)
    if type_ in _DISCOVERY_LENGTHS:
        return _discovery(head, message, faults, quote)
    if type_ in mld.TYPES:
        return ICMP6(*head, mld=mld.decode(message, faults))
    return ICMP6(*head)


def _error(head: tuple[int, int, int], message: bytes, faults: list[str], quote: Quote) -> ICMP6:
    number = int.from_bytes(message[4:8], "big")
    return ICMP6(
        *head,
        mtu=number if head[0] == PACKET_TOO_BIG else None,
        pointer=number if head[0] == PARAMETER_PROBLEM else None,
        quoted=quote(message[HEADER_LENGTH:], faults),
    )


def _discovery(head: tuple[int, int, int], message: bytes, faults: list[str], quote: Quote) -> ICMP6:
    type_ = head[0]
    length = _DISCOVERY_LENGTHS[type_]
    if len(message) < length:
        faults.append(f"icmp6: message of type {type_} cut off after {len(message)} of {length} bytes")
        return ICMP6(*head)
    options = ndp.decode(message[length:], faults)
    header = next((option for option in options if isinstance(option, ndp.RedirectedHeader)), None)
    with_target = type_ in {NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT, REDIRECT}
    return ICMP6(
        *head,
        target=_address(message, 8) if with_target else None,
        destination=_address(message, 24) if type_ == REDIRECT else None,
        router=_router(message) if type_ == ROUTER_ADVERTISEMENT else None,
        neighbor=_neighbor(message[4]) if type_ == NEIGHBOR_ADVERTISEMENT else None,
        options=options,
        quoted=None if header is None else quote(header.data, faults),
    )


def _address(message: bytes, start: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, message[start : start + _ADDRESS])


def _neighbor(flags: int) -> NeighborFlags:
    return NeighborFlags(bool(flags & 0x80), bool(flags & 0x40), bool(flags & 0x20))


def _router(message: bytes) -> RouterAdvertisement:
    hop_limit, flags, lifetime, reachable_time, retransmit_time = struct.unpack_from("!BBHII", message, 4)
    return RouterAdvertisement(
        hop_limit,
        bool(flags & 0x80),
        bool(flags & 0x40),
        flags >> 3 & 3,
        lifetime,
        reachable_time,
        retransmit_time,
    )
