"""ARP (RFC 826)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

REQUEST = 1
REPLY = 2

_HEADER = struct.Struct("!HHBBH")
_IPV4 = 0x0800


@dataclass(frozen=True, slots=True)
class ARP:
    """One ARP message.

    Attributes:
        sender_mac: hexadecimal with colons, of `hardware_size` bytes; as `target_mac`.
        sender_ip: dotted for IPv4, hexadecimal with colons for any other protocol; as `target_ip`.
    """

    hardware_type: int
    protocol_type: int
    hardware_size: int
    protocol_size: int
    operation: int
    sender_mac: str
    sender_ip: str
    target_mac: str
    target_ip: str


def decode(message: bytes, faults: list[str]) -> ARP | None:
    """Decode one message; None where it is cut off. Padding behind it is left alone."""
    if len(message) < _HEADER.size:
        faults.append(f"arp: cut off after {len(message)} of {_HEADER.size} bytes")
        return None
    hardware_type, protocol_type, hardware_size, protocol_size, operation = _HEADER.unpack_from(message)
    size = _HEADER.size + 2 * (hardware_size + protocol_size)
    if len(message) < size:
        faults.append(f"arp: cut off after {len(message)} of {size} bytes")
        return None

    sender_ip = _HEADER.size + hardware_size
    target_mac = sender_ip + protocol_size
    target_ip = target_mac + hardware_size
    return ARP(
        hardware_type,
        protocol_type,
        hardware_size,
        protocol_size,
        operation,
        message[_HEADER.size : sender_ip].hex(":"),
        _protocol_address(protocol_type, message[sender_ip:target_mac]),
        message[target_mac:target_ip].hex(":"),
        _protocol_address(protocol_type, message[target_ip:size]),
    )


def _protocol_address(protocol_type: int, address: bytes) -> str:
    if protocol_type == _IPV4 and len(address) == 4:  # noqa: PLR2004 - the size of an IPv4 address
        return socket.inet_ntoa(address)
    return address.hex(":")
