"""IPv6 and its extension headers (RFC 8200)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import ClassVar

from lab.trace import ipv6_extensions
from lab.trace.ipv6_extensions import Extension, Fragment, Routing

_HEADER = struct.Struct("!IHBB16s16s")


@dataclass(frozen=True, slots=True)
class IPv6:
    """An IPv6 header with the extension headers behind it.

    Attributes:
        protocol: of the body, behind all extension headers (58 ICMPv6, 6 TCP, 17 UDP, 59 none).
        next_header: what follows the fixed header: an extension header, or `protocol` itself.
        payload_length: bytes behind the fixed header, as it says.
        extensions: in the order of the packet.
        offset: where in the frame the header begins.
        body_offset: where in the frame the body begins, behind the extension headers.
    """

    version: ClassVar[int] = 6

    src: str
    dst: str
    protocol: int
    hop_limit: int
    dscp: int
    ecn: int
    flow_label: int
    next_header: int
    payload_length: int
    extensions: tuple[Extension, ...]
    offset: int
    body_offset: int

    @property
    def body_length(self) -> int:
        """Bytes of the body, as the header says; the capture may hold fewer."""
        return max(0, self.offset + _HEADER.size + self.payload_length - self.body_offset)

    @property
    def fragment(self) -> Fragment | None:
        """The fragment header, where there is one."""
        return next((extension for extension in self.extensions if isinstance(extension, Fragment)), None)

    @property
    def fragment_offset(self) -> int:
        """Bytes; 0 without a fragment header."""
        fragment = self.fragment
        return 0 if fragment is None else fragment.offset

    @property
    def more_fragments(self) -> bool:
        """Whether another fragment follows."""
        fragment = self.fragment
        return fragment is not None and fragment.more

    @property
    def id(self) -> int:
        """The fragment header's identification; 0 without one."""
        fragment = self.fragment
        return 0 if fragment is None else fragment.id

    @property
    def is_fragment(self) -> bool:
        """Whether the body is a part of a packet only; an atomic fragment (RFC 6946) is whole."""
        fragment = self.fragment
        return fragment is not None and (fragment.more or fragment.offset > 0)

    @property
    def final_dst(self) -> str:
        """The address at the end of a source route, and `dst` without one (RFC 8200, section 8.1)."""
        for extension in self.extensions:
            if isinstance(extension, Routing) and extension.segments_left and extension.addresses:
                return extension.addresses[0 if extension.type == ipv6_extensions.SEGMENT_ROUTING else -1]
        return self.dst


def decode(data: bytes, start: int, wire_end: int, faults: list[str]) -> IPv6 | None:
    """Decode the header at `start` and its extension headers; None where there is none to be trusted.

    `wire_end` is where the packet ended on the wire, which may lie behind the captured bytes.
    """
    captured = len(data) - start
    if captured < _HEADER.size:
        faults.append(f"ip: cut off after {captured} of {_HEADER.size} bytes")
        return None
    first, payload_length, next_header, hop_limit, src, dst = _HEADER.unpack_from(data, start)
    version = first >> 28
    if version != IPv6.version:
        faults.append(f"ip: version {version} in an IPv6 header")
        return None
    end = start + _HEADER.size + payload_length
    if end > wire_end:
        faults.append(f"ip: payload length {payload_length}, but the frame has {wire_end - start - _HEADER.size} bytes")
    chain = ipv6_extensions.decode(data, start + _HEADER.size, min(end, len(data)), next_header, faults)
    return IPv6(
        socket.inet_ntop(socket.AF_INET6, src),
        socket.inet_ntop(socket.AF_INET6, dst),
        chain.protocol,
        hop_limit,
        first >> 22 & 0x3F,
        first >> 20 & 3,
        first & 0xFFFFF,
        next_header,
        payload_length,
        chain.extensions,
        start,
        chain.end,
    )
