"""IPv4 (RFC 791)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import ClassVar

from lab.trace import ipv4_options

_HEADER = struct.Struct("!BBHHHBBH4s4s")


@dataclass(frozen=True, slots=True)
class IPv4:
    """An IPv4 header.

    Attributes:
        protocol: of the body (1 ICMP, 6 TCP, 17 UDP).
        fragment_offset: bytes.
        header_length: bytes, options included.
        total_length: bytes, as the header says.
        offset: where in the frame the header begins.
    """

    version: ClassVar[int] = 4

    src: str
    dst: str
    protocol: int
    ttl: int
    dscp: int
    ecn: int
    id: int
    dont_fragment: bool
    more_fragments: bool
    fragment_offset: int
    header_length: int
    total_length: int
    checksum: int
    options: tuple[ipv4_options.Option, ...]
    offset: int

    @property
    def body_offset(self) -> int:
        """Where in the frame the body begins."""
        return self.offset + self.header_length

    @property
    def body_length(self) -> int:
        """Bytes of the body, as the header says; the capture may hold fewer."""
        return self.total_length - self.header_length

    @property
    def is_fragment(self) -> bool:
        """Whether the body is a part of a datagram only."""
        return self.more_fragments or self.fragment_offset > 0

    @property
    def final_dst(self) -> str:
        """The address at the end of a source route, and `dst` without one (RFC 1122, section 3.2.1.8c)."""
        for option in self.options:
            if isinstance(option, ipv4_options.LooseSourceRoute | ipv4_options.StrictSourceRoute):
                left = option.addresses[len(option.used) :]
                return left[-1] if left else self.dst
        return self.dst


def decode(data: bytes, start: int, wire_end: int, faults: list[str]) -> IPv4 | None:
    """Decode the header at `start`; None where there is none to be trusted.

    `wire_end` is where the packet ended on the wire, which may lie behind the captured bytes.
    """
    captured = len(data) - start
    if captured < _HEADER.size:
        faults.append(f"ip: cut off after {captured} of {_HEADER.size} bytes")
        return None
    first, tos, total_length, id_, fragment, ttl, protocol, checksum, src, dst = _HEADER.unpack_from(data, start)
    header_length = (first & 0x0F) * 4
    if not _sane(first >> 4, header_length, total_length, faults):
        return None
    if start + total_length > wire_end:
        faults.append(f"ip: total length {total_length}, but the frame has {wire_end - start} bytes")
    options: tuple[ipv4_options.Option, ...] = ()
    if header_length > _HEADER.size:
        if captured < header_length:
            faults.append(f"ip: cut off after {captured} of {header_length} bytes")
        options = ipv4_options.decode(data[start + _HEADER.size : start + header_length], faults)
    return IPv4(
        socket.inet_ntoa(src),
        socket.inet_ntoa(dst),
        protocol,
        ttl,
        tos >> 2,
        tos & 3,
        id_,
        fragment & 0x4000 != 0,
        fragment & 0x2000 != 0,
        (fragment & 0x1FFF) * 8,
        header_length,
        total_length,
        checksum,
        options,
        start,
    )


def _sane(version: int, header_length: int, total_length: int, faults: list[str]) -> bool:
    if version != IPv4.version:
        faults.append(f"ip: version {version} in an IPv4 header")
        return False
    if header_length < _HEADER.size:
        faults.append(f"ip: header length {header_length} is below {_HEADER.size}")
        return False
    if total_length < header_length:
        faults.append(f"ip: total length {total_length} is below the header's {header_length}")
        return False
    return True
