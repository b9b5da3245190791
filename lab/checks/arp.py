"""ARP packets; `capture.trace.where(arp.is_request)`."""

from __future__ import annotations

from lab.trace import arp
from lab.trace.packet import Packet


def is_request(packet: Packet) -> bool:
    """Whether the packet asks who has an address."""
    return packet.arp is not None and packet.arp.operation == arp.REQUEST


def is_reply(packet: Packet) -> bool:
    """Whether the packet tells who has an address."""
    return packet.arp is not None and packet.arp.operation == arp.REPLY


def is_gratuitous(packet: Packet) -> bool:
    """Whether the packet announces its sender's own address, as request or reply (RFC 5227, section 3)."""
    return packet.arp is not None and packet.arp.sender_ip == packet.arp.target_ip
