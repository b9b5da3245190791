"""ICMP and ICMPv6 packets, told apart by what they say; `capture.trace.where(icmp.is_redirect)`."""

from __future__ import annotations

from lab.trace import icmp, icmp6
from lab.trace.packet import Packet


def is_echo_request(packet: Packet) -> bool:
    """Whether the packet is a ping."""
    return _is(packet, icmp.ECHO_REQUEST, icmp6.ECHO_REQUEST)


def is_echo_reply(packet: Packet) -> bool:
    """Whether the packet answers a ping."""
    return _is(packet, icmp.ECHO_REPLY, icmp6.ECHO_REPLY)


def is_redirect(packet: Packet) -> bool:
    """Whether the packet tells of a better next hop; in IPv6 that is a message of neighbor discovery."""
    return _is(packet, icmp.REDIRECT, icmp6.REDIRECT)


def is_time_exceeded(packet: Packet) -> bool:
    """Whether the packet tells of one that ran out of hops, or of fragments that never became whole."""
    return _is(packet, icmp.TIME_EXCEEDED, icmp6.TIME_EXCEEDED)


def is_unreachable(packet: Packet) -> bool:
    """Whether the packet tells that a destination cannot be reached.

    IPv4's "fragmentation needed" is one of these; IPv6's "packet too big" has a type of its own and is not.
    """
    return _is(packet, icmp.UNREACHABLE, icmp6.UNREACHABLE)


def is_too_big(packet: Packet) -> bool:
    """Whether an IPv6 router tells of a packet that the next segment cannot carry; see `is_unreachable` for IPv4."""
    return packet.icmp6 is not None and packet.icmp6.type == icmp6.PACKET_TOO_BIG


def _is(packet: Packet, type4: int, type6: int) -> bool:
    if packet.icmp is not None:
        return packet.icmp.type == type4
    return packet.icmp6 is not None and packet.icmp6.type == type6
