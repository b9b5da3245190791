"""UDP (RFC 768)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_LENGTH = 8

_HEADER = struct.Struct("!HHHH")


@dataclass(frozen=True, slots=True)
class UDP:
    """A UDP header.

    Attributes:
        length: bytes of header and payload, as the header says.
        checksum: 0 is "not computed", which only IPv4 allows.
    """

    source_port: int
    destination_port: int
    length: int
    checksum: int


def decode(data: bytes, start: int, claimed: int, faults: list[str], *, whole: bool) -> UDP | None:
    """Decode the header at `start`; None where it is cut off.

    `claimed` is how many bytes the IP packet has from `start` on, as IP says. In a first fragment
    it is not the `whole` datagram, whose length UDP has.
    """
    captured = min(len(data) - start, claimed)
    if captured < HEADER_LENGTH:
        faults.append(f"udp: cut off after {captured} of {HEADER_LENGTH} bytes")
        return None
    source_port, destination_port, length, checksum = _HEADER.unpack_from(data, start)
    if length < HEADER_LENGTH:
        faults.append(f"udp: length {length} is below {HEADER_LENGTH}")
    elif whole and length > claimed:
        faults.append(f"udp: length {length}, but IP carries {claimed} bytes")
    return UDP(source_port, destination_port, length, checksum)
