"""ICMP (RFC 792; next-hop MTU: RFC 1191)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.trace.quote import Quoted

ECHO_REPLY = 0
UNREACHABLE = 3
SOURCE_QUENCH = 4
REDIRECT = 5
ECHO_REQUEST = 8
TIME_EXCEEDED = 11
PARAMETER_PROBLEM = 12
TIMESTAMP_REQUEST = 13
TIMESTAMP_REPLY = 14

FRAGMENTATION_NEEDED = 4
"""The code of `UNREACHABLE` that carries a next-hop MTU."""

HEADER_LENGTH = 8

Quote = Callable[[bytes, list[str]], "Quoted | None"]
"""Decodes the packet that an error carries. It is handed in, as that packet is made of these layers."""

_HEADER = struct.Struct("!BBH")
_TIMES = struct.Struct("!III")
_ERRORS = frozenset({UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM})
_QUERIES = frozenset({ECHO_REQUEST, ECHO_REPLY, TIMESTAMP_REQUEST, TIMESTAMP_REPLY})


@dataclass(frozen=True, slots=True)
class ICMP:
    """One message. What its type has not is None.

    Attributes:
        id: of echo and timestamp, as `seq`.
        gateway: of a redirect: the better next hop.
        mtu: of "fragmentation needed": the next hop's; 0 from routers that do not tell.
        pointer: of a parameter problem: the byte of the quoted header that is wrong.
        timestamps: (originate, receive, transmit) in milliseconds since midnight UTC.
        quoted: of an error: the packet it is about.
    """

    type: int
    code: int
    checksum: int
    id: int | None = None
    seq: int | None = None
    gateway: str | None = None
    mtu: int | None = None
    pointer: int | None = None
    timestamps: tuple[int, int, int] | None = None
    quoted: Quoted | None = None


def decode(message: bytes, faults: list[str], quote: Quote) -> ICMP | None:
    """Decode one message; None where its header is cut off."""
    if len(message) < HEADER_LENGTH:
        faults.append(f"icmp: cut off after {len(message)} of {HEADER_LENGTH} bytes")
        return None
    head: tuple[int, int, int] = _HEADER.unpack_from(message)
    if head[0] in _ERRORS:
        return _error(head, message, faults, quote)
    if head[0] in _QUERIES:
        return _query(head, message, faults)
    return ICMP(*head)


def _error(head: tuple[int, int, int], message: bytes, faults: list[str], quote: Quote) -> ICMP:
    type_, code, _ = head
    return ICMP(
        *head,
        gateway=socket.inet_ntoa(message[4:8]) if type_ == REDIRECT else None,
        mtu=int.from_bytes(message[6:8], "big") if (type_, code) == (UNREACHABLE, FRAGMENTATION_NEEDED) else None,
        pointer=message[4] if type_ == PARAMETER_PROBLEM else None,
        quoted=quote(message[HEADER_LENGTH:], faults),
    )


def _query(head: tuple[int, int, int], message: bytes, faults: list[str]) -> ICMP:
    id_, seq = struct.unpack_from("!HH", message, 4)
    if head[0] in {ECHO_REQUEST, ECHO_REPLY}:
        return ICMP(*head, id=id_, seq=seq)
    size = HEADER_LENGTH + _TIMES.size
    if len(message) < size:
        faults.append(f"icmp: timestamp message cut off after {len(message)} of {size} bytes")
        return ICMP(*head, id=id_, seq=seq)
    return ICMP(*head, id=id_, seq=seq, timestamps=_TIMES.unpack_from(message, HEADER_LENGTH))
