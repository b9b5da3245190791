"""One captured frame, decoded. Bytes that make no sense never raise; the packet says what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lab.trace import arp, checksum, domain, ethernet, ipv4, ipv6, quote, upper
from lab.trace.icmp import ICMP
from lab.trace.icmp6 import ICMP6
from lab.trace.tcp import TCP
from lab.trace.udp import UDP

if TYPE_CHECKING:
    import dns.message

Direction = Literal["in", "out", ""]

_ARP_ONLY = upper.Upper(0, 0)


@dataclass(frozen=True, slots=True)
class Packet:
    """A frame with its layers; a layer that is absent is None.

    Attributes:
        time_ns: nanoseconds since 1970 (CLOCK_REALTIME).
        node: where it was captured, as `interface`; empty where a file does not tell.
        direction: as the interface saw it; empty where a file does not tell.
        length: bytes on the wire; `data` may hold fewer.
        data: the whole frame as captured.
        payload_offset: where in `data` the payload begins: what follows the innermost decoded header.
        payload_length: bytes of the payload as the headers say; `payload` may hold fewer.
        malformed: one short sentence per fault.
    """

    time_ns: int
    node: str
    interface: str
    direction: Direction
    length: int
    data: bytes
    eth: ethernet.Ethernet | None
    arp: arp.ARP | None
    ip: upper.IP | None
    icmp: ICMP | None
    icmp6: ICMP6 | None
    udp: UDP | None
    tcp: TCP | None
    payload_offset: int
    payload_length: int
    malformed: tuple[str, ...]

    @property
    def payload(self) -> bytes:
        """The captured bytes behind the innermost decoded header, without Ethernet's padding."""
        return self.data[self.payload_offset : self.payload_offset + self.payload_length]

    @property
    def ip_checksum_ok(self) -> bool | None:
        """Whether the IPv4 header's checksum is right; None without one, or if captured in part."""
        return None if self.ip is None else checksum.header_ok(self.data, self.ip)

    @property
    def transport_checksum_ok(self) -> bool | None:
        """Whether the checksum of TCP, UDP, ICMP or ICMPv6 is right.

        None without one, and where it cannot be known: in a fragment, or captured in part.
        """
        if self.ip is None or (self.tcp or self.udp or self.icmp or self.icmp6) is None:
            return None
        return checksum.transport_ok(self.data, self.ip, self.udp)

    @property
    def checksum_ok(self) -> bool | None:
        """Whether the packet's checksums are right: False if one is wrong, None if none can be known."""
        known = {self.ip_checksum_ok, self.transport_checksum_ok} - {None}
        return all(known) if known else None

    @property
    def dns(self) -> dns.message.Message | None:
        """The DNS message of a UDP datagram or a TCP segment from or to port 53.

        Decoded anew at every use. None where the payload is not one whole and well-formed message.
        """
        return domain.decode(self)


def decode(
    frame: bytes,
    *,
    length: int | None = None,
    time_ns: int = 0,
    node: str = "",
    interface: str = "",
    direction: Direction = "",
) -> Packet:
    """Decode an Ethernet frame of `length` bytes on the wire: as many as were captured if left out."""
    faults: list[str] = []
    wire_length = len(frame) if length is None else max(length, len(frame))
    eth = ethernet.decode(frame, faults)
    message: arp.ARP | None = None
    ip: upper.IP | None = None
    if eth is None:
        body = upper.Upper(0, wire_length)
    elif eth.type == ethernet.IPV4:
        ip = ipv4.decode(frame, eth.header_length, wire_length, faults)
        body = _body(frame, eth, ip, wire_length, faults)
    elif eth.type == ethernet.IPV6:
        ip = ipv6.decode(frame, eth.header_length, wire_length, faults)
        body = _body(frame, eth, ip, wire_length, faults)
    elif eth.type == ethernet.ARP:
        message = arp.decode(frame[eth.header_length :], faults)
        body = _ARP_ONLY
    else:
        body = _unknown(eth, wire_length, faults)
    offset, payload_length, icmp, icmp6, udp, tcp = body
    return Packet(
        time_ns,
        node,
        interface,
        direction,
        wire_length,
        frame,
        eth,
        message,
        ip,
        icmp,
        icmp6,
        udp,
        tcp,
        offset,
        payload_length,
        tuple(faults),
    )


def _body(
    frame: bytes, eth: ethernet.Ethernet, ip: upper.IP | None, wire_length: int, faults: list[str]
) -> upper.Upper:
    if ip is None:
        return upper.Upper(eth.header_length, wire_length - eth.header_length)
    return upper.decode(frame, ip, faults, quote.decode)


def _unknown(eth: ethernet.Ethernet, wire_length: int, faults: list[str]) -> upper.Upper:
    there = wire_length - eth.header_length
    if eth.type >= ethernet.FIRST_ETHERTYPE:
        return upper.Upper(eth.header_length, there)
    if eth.type > there:
        faults.append(f"eth: length {eth.type}, but the frame has {there} bytes")
    return upper.Upper(eth.header_length, min(eth.type, there))
