"""What an IP packet carries: the layers that a captured packet and a quoted one have in common."""

from __future__ import annotations

from typing import NamedTuple

from lab.trace import icmp, icmp6, tcp, udp
from lab.trace.icmp import ICMP, Quote
from lab.trace.icmp6 import ICMP6
from lab.trace.ipv4 import IPv4
from lab.trace.ipv6 import IPv6
from lab.trace.tcp import TCP
from lab.trace.udp import UDP

PROTOCOL_ICMP = 1
PROTOCOL_TCP = 6
PROTOCOL_UDP = 17
PROTOCOL_ICMP6 = 58

IP = IPv4 | IPv6


class Upper(NamedTuple):
    """At most one transport layer, and where the payload behind it is.

    A named tuple rather than a dataclass: one is made and taken apart again for every packet.
    """

    offset: int
    length: int
    icmp: ICMP | None = None
    icmp6: ICMP6 | None = None
    udp: UDP | None = None
    tcp: TCP | None = None


def decode(data: bytes, ip: IP, faults: list[str], quote: Quote) -> Upper:
    """Decode the body of `ip`; a fragment but the first has no transport layer, its body is payload."""
    start, length = ip.body_offset, ip.body_length
    protocol = ip.protocol
    if protocol == PROTOCOL_TCP and not ip.fragment_offset:
        segment = tcp.decode(data, start, length, faults)
        if segment is not None:
            header = max(segment.header_length, tcp.HEADER_LENGTH)
            return Upper(start + header, max(0, length - header), None, None, None, segment)
    elif protocol == PROTOCOL_UDP and not ip.fragment_offset:
        datagram = udp.decode(data, start, length, faults, whole=not ip.is_fragment)
        if datagram is not None:
            body = min(length, max(datagram.length, udp.HEADER_LENGTH)) - udp.HEADER_LENGTH
            return Upper(start + udp.HEADER_LENGTH, body, None, None, datagram)
    elif protocol in {PROTOCOL_ICMP, PROTOCOL_ICMP6} and not ip.fragment_offset:
        return _control(data, ip, faults, quote)
    return Upper(start, length)


def _control(data: bytes, ip: IP, faults: list[str], quote: Quote) -> Upper:
    start, length = ip.body_offset, ip.body_length
    message = data[start : start + length]
    offset, rest = start + icmp.HEADER_LENGTH, max(0, length - icmp.HEADER_LENGTH)
    if isinstance(ip, IPv4) and ip.protocol == PROTOCOL_ICMP:
        return Upper(offset, rest, icmp=icmp.decode(message, faults, quote))
    if isinstance(ip, IPv6) and ip.protocol == PROTOCOL_ICMP6:
        return Upper(offset, rest, icmp6=icmp6.decode(message, faults, quote))
    return Upper(start, length)
