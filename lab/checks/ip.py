"""Who sent an IP packet to whom; `capture.trace.where(ip.sent_by("10.0.1.1"))`.

Each function makes a predicate, and raises UsageError at once if its argument is no address.
"""

from __future__ import annotations

from lab.trace.address import canonical
from lab.trace.packet import Packet
from lab.trace.trace import Predicate


def sent_by(address: str) -> Predicate:
    """Make a predicate: the packet's IPv4 or IPv6 source is `address`."""
    source = canonical(address)

    def is_sent_by(packet: Packet) -> bool:
        return packet.ip is not None and packet.ip.src == source

    return is_sent_by


def sent_to(address: str) -> Predicate:
    """Make a predicate: the packet's IPv4 or IPv6 destination is `address`."""
    destination = canonical(address)

    def is_sent_to(packet: Packet) -> bool:
        return packet.ip is not None and packet.ip.dst == destination

    return is_sent_to


def is_fragment(packet: Packet) -> bool:
    """Whether the packet holds a part of a datagram only."""
    return packet.ip is not None and packet.ip.is_fragment
