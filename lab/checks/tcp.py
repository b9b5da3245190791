"""TCP segments; `capture.trace.where(tcp.is_syn)`."""

from __future__ import annotations

from lab.trace.packet import Packet


def is_syn(packet: Packet) -> bool:
    """Whether the segment asks for a connection: SYN without ACK."""
    return packet.tcp is not None and packet.tcp.is_syn and not packet.tcp.is_ack


def is_syn_ack(packet: Packet) -> bool:
    """Whether the segment accepts a connection: SYN with ACK."""
    return packet.tcp is not None and packet.tcp.is_syn and packet.tcp.is_ack


def is_fin(packet: Packet) -> bool:
    """Whether the segment ends its sender's stream."""
    return packet.tcp is not None and packet.tcp.is_fin


def is_reset(packet: Packet) -> bool:
    """Whether the segment resets the connection."""
    return packet.tcp is not None and packet.tcp.is_rst


def has_data(packet: Packet) -> bool:
    """Whether the segment carries payload, on the wire if not in the capture."""
    return packet.tcp is not None and packet.payload_length > 0
