"""Packets made by hand: IPv4 (RFC 791), UDP (RFC 768) and ICMP redirects (RFC 792), with right checksums."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address

from lab.probes.checksum import internet_checksum

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_REDIRECT = struct.Struct("!BBH4s")
_TTL = 64
_QUOTED = 28  # bytes of the offending packet in an ICMP error: its header and 8 bytes more
REDIRECT_HOST = 1


def ipv4_packet(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """Return an IPv4 packet without options."""

    def header(checksum: int) -> bytes:
        addresses = IPv4Address(source).packed, IPv4Address(destination).packed
        return _IPV4.pack(0x45, 0, _IPV4.size + len(payload), 0, 0, _TTL, protocol, checksum, *addresses)

    return header(internet_checksum(header(0))) + payload


def udp_packet(source: tuple[str, int], destination: tuple[str, int], payload: bytes = b"") -> bytes:
    """Return an IPv4 packet with a UDP datagram whose checksum is left out, as RFC 768 allows."""
    datagram = _UDP.pack(source[1], destination[1], _UDP.size + len(payload), 0) + payload
    return ipv4_packet(source[0], destination[0], socket.IPPROTO_UDP, datagram)


def icmp_redirect(sender: str, receiver: str, gateway: str, offending: bytes) -> bytes:
    """Return an IPv4 packet that tells the receiver of a better gateway for the packet it quotes."""

    def message(checksum: int) -> bytes:
        return _REDIRECT.pack(5, REDIRECT_HOST, checksum, IPv4Address(gateway).packed) + offending[:_QUOTED]

    return ipv4_packet(sender, receiver, socket.IPPROTO_ICMP, message(internet_checksum(message(0))))


def send_packet(channel: socket.socket, packet: bytes) -> None:
    """Send a whole IPv4 packet over a raw socket (SOCK_RAW, IPPROTO_RAW), whatever source address it claims."""
    channel.sendto(packet, (str(IPv4Address(packet[16:20])), 0))
