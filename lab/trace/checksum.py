"""The Internet checksum (RFC 1071), checked in captured frames."""

from __future__ import annotations

import socket
import struct

from lab.trace.ipv4 import IPv4
from lab.trace.udp import HEADER_LENGTH as UDP_HEADER_LENGTH
from lab.trace.udp import UDP
from lab.trace.upper import IP, PROTOCOL_ICMP

_MODULUS = 0xFFFF


def is_valid(data: bytes) -> bool:
    """Whether the ones' complement sum over `data`, checksum included, is all ones.

    Adding in ones' complement is adding modulo 65535, and Python takes the remainder of
    one long number faster than it adds up many short ones.
    """
    number = int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big")
    return number != 0 and number % _MODULUS == 0


def header_ok(data: bytes, ip: IP) -> bool | None:
    """Whether the header's checksum is right; None in IPv6, and where it was not captured whole."""
    if not isinstance(ip, IPv4) or len(data) < ip.body_offset:
        return None
    return is_valid(data[ip.offset : ip.body_offset])


def transport_ok(data: bytes, ip: IP, udp: UDP | None) -> bool | None:
    """Whether the checksum of what `ip` carries is right; None where that cannot be known."""
    start, length = ip.body_offset, ip.body_length
    if udp is not None:
        if udp.checksum == 0:
            return None if isinstance(ip, IPv4) else False
        if not UDP_HEADER_LENGTH <= udp.length <= length:
            return None
        length = udp.length
    if ip.is_fragment or len(data) < start + length:
        return None
    return is_valid(_pseudo_header(ip, length) + data[start : start + length])


def _pseudo_header(ip: IP, length: int) -> bytes:
    """What the sums of TCP, UDP and ICMPv6 cover besides the body (RFC 9293, 3.1; RFC 8200, 8.1)."""
    if not isinstance(ip, IPv4):
        addresses = socket.inet_pton(socket.AF_INET6, ip.src) + socket.inet_pton(socket.AF_INET6, ip.final_dst)
        return addresses + struct.pack("!II", length, ip.protocol)
    if ip.protocol == PROTOCOL_ICMP:
        return b""
    return socket.inet_aton(ip.src) + socket.inet_aton(ip.final_dst) + struct.pack("!HH", ip.protocol, length)
