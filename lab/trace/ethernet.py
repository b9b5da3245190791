"""Ethernet II and 802.3 frames, with 802.1Q and 802.1ad tags."""

from __future__ import annotations

import struct
from dataclasses import dataclass

IPV4 = 0x0800
ARP = 0x0806
IPV6 = 0x86DD
FIRST_ETHERTYPE = 0x0600
"""A smaller number in the type field is the length of an 802.3 frame's body (IEEE 802.3, 3.2.6)."""

_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
_HEADER = struct.Struct("!6s6sH")
_TAG = struct.Struct("!HH")


@dataclass(frozen=True, slots=True)
class Vlan:
    """One 802.1Q (0x8100) or 802.1ad (0x88a8) tag.

    Attributes:
        tpid: the EtherType that announced the tag.
    """

    tpid: int
    priority: int
    drop_eligible: bool
    id: int


@dataclass(frozen=True, slots=True)
class Ethernet:
    """The link layer's header.

    Attributes:
        dst: lower case with colons, as `src`.
        type: the EtherType behind all tags; below 0x600 it is the length of an 802.3 frame.
        vlans: outermost first.
        header_length: bytes, tags included.
    """

    dst: str
    src: str
    type: int
    vlans: tuple[Vlan, ...]
    header_length: int


def decode(data: bytes, faults: list[str]) -> Ethernet | None:
    """Decode the header at the beginning of a frame; None where it is cut off."""
    if len(data) < _HEADER.size:
        faults.append(f"eth: cut off after {len(data)} of {_HEADER.size} bytes")
        return None
    dst, src, ethertype = _HEADER.unpack_from(data)
    if ethertype in _TAGS:
        return _tagged(data, dst, src, faults)
    return Ethernet(dst.hex(":"), src.hex(":"), ethertype, (), _HEADER.size)


def _tagged(data: bytes, dst: bytes, src: bytes, faults: list[str]) -> Ethernet | None:
    vlans: list[Vlan] = []
    offset = 12
    (ethertype,) = struct.unpack_from("!H", data, offset)
    while ethertype in _TAGS:
        if len(data) < offset + 6:
            faults.append("eth: cut off inside a VLAN tag")
            return None
        control, following = _TAG.unpack_from(data, offset + 2)
        vlans.append(Vlan(ethertype, control >> 13, bool(control & 0x1000), control & 0x0FFF))
        ethertype = following
        offset += 4
    return Ethernet(dst.hex(":"), src.hex(":"), ethertype, tuple(vlans), offset + 2)
