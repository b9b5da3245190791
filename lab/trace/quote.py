"""The packet that an ICMP error quotes: its IP header, and as much behind it as the error's sender kept."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass

from lab.trace import ipv4, ipv6, upper
from lab.trace.icmp import ICMP
from lab.trace.icmp6 import ICMP6
from lab.trace.tcp import TCP
from lab.trace.udp import UDP

_WITH_PORTS = frozenset({upper.PROTOCOL_TCP, upper.PROTOCOL_UDP})


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quoted packet, by its nature cut off: a layer is None where less than its header is there.

    Attributes:
        ports: (source, destination) of TCP or UDP, known already from a quote of eight bytes (RFC 792).
        payload: what the quote holds behind the headers.
        malformed: one sentence per fault, cut off headers among them.
    """

    ip: upper.IP
    icmp: ICMP | None
    icmp6: ICMP6 | None
    udp: UDP | None
    tcp: TCP | None
    ports: tuple[int, int] | None
    payload: bytes
    malformed: tuple[str, ...]


def decode(data: bytes, faults: list[str]) -> Quoted | None:
    """Decode a quoted packet; None, and a fault, where not even its IP header can be read."""
    quoted_faults: list[str] = []
    # How long the packet was on its own wire is not known here, so any length it claims is believed.
    version = data[0] >> 4 if data else ipv4.IPv4.version
    decode_ip = ipv6.decode if version == ipv6.IPv6.version else ipv4.decode
    ip = decode_ip(data, 0, sys.maxsize, quoted_faults)
    if ip is None:
        faults.extend(f"quoted {fault}" for fault in quoted_faults)
        return None
    body = upper.decode(data, ip, quoted_faults, _no_deeper)
    return Quoted(
        ip,
        body.icmp,
        body.icmp6,
        body.udp,
        body.tcp,
        _ports(data, ip),
        data[body.offset : body.offset + body.length],
        tuple(quoted_faults),
    )


def _no_deeper(_data: bytes, _faults: list[str]) -> None:
    """Leave a quote inside of a quote alone: no error is sent about an error (RFC 1122, section 3.2.2)."""


def _ports(data: bytes, ip: upper.IP) -> tuple[int, int] | None:
    start = ip.body_offset
    if ip.protocol not in _WITH_PORTS or ip.fragment_offset or len(data) < start + 4:
        return None
    source, destination = struct.unpack_from("!HH", data, start)
    return source, destination
