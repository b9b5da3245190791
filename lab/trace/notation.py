"""Packets as lines in packetdrill's notation, made fit for a terminal.

    0.000000 host:eth0 > 10.0.1.10.43210 > 10.0.1.80.80: S 0:0(0) win 64240 <mss 1460,nop,wscale 7>
    5.000213 -- cut host web

The second line is a mark: something that was done to the lab. The first `>` of a packet says that the interface
sent it, `<` that it received it.
"""

from __future__ import annotations

import re

from lab.faults.model import Mark
from lab.trace import domain
from lab.trace.conversation import Connection, Follower, endpoints
from lab.trace.ethernet import FIRST_ETHERTYPE
from lab.trace.notation_control import arp_text, icmp6_text, icmp_text
from lab.trace.notation_tcp import tcp_text
from lab.trace.packet import Packet
from lab.trace.quote import Quoted
from lab.trace.upper import PROTOCOL_ICMP, PROTOCOL_ICMP6, PROTOCOL_TCP, PROTOCOL_UDP

_ARROWS = {"out": ">", "in": "<", "": ""}
_UNPRINTABLE = re.compile(r"[^ -~]")
_PROTOCOLS = {PROTOCOL_ICMP: "icmp", PROTOCOL_TCP: "tcp", PROTOCOL_UDP: "udp", PROTOCOL_ICMP6: "icmp6"}


class Printer:
    """Turns packets into lines one by one, as they come.

    Times are relative to the first line, sequence numbers to the first of their connection.
    """

    def __init__(self) -> None:
        self._follower = Follower()
        self._start: int | None = None

    def line(self, packet: Packet) -> str:
        """Return the packet's line: ASCII without control characters, whatever the packet holds."""
        parts = [
            self._time(packet.time_ns),
            ":".join(filter(None, (packet.node, packet.interface))),
            _ARROWS[packet.direction],
            _text(packet, self._follower.follow(packet)),
            f"[malformed: {'; '.join(packet.malformed)}]" if packet.malformed else "",
        ]
        return printable(" ".join(filter(None, parts)))

    def mark(self, mark: Mark) -> str:
        """Return the line of something that was done to the lab."""
        return printable(f"{self._time(mark.time_ns)} -- {mark.text}")

    def _time(self, time_ns: int) -> str:
        if self._start is None:
            self._start = time_ns
        return _seconds(time_ns - self._start)


def printable(text: str) -> str:
    """Replace what is not printable ASCII by its escape, so that a packet cannot steer a terminal."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def _seconds(nanoseconds: int) -> str:
    # Packets of a live capture from several interfaces may come a little out of order.
    sign = "-" if nanoseconds < 0 else ""
    seconds, fraction = divmod(abs(nanoseconds) // 1000, 1_000_000)
    return f"{sign}{seconds}.{fraction:06}"


def _text(packet: Packet, connection: Connection | None) -> str:
    if packet.arp is not None:
        return arp_text(packet.arp)
    if packet.ip is None:
        return _frame(packet)
    ends = endpoints(packet)
    source, destination = (packet.ip.src, packet.ip.dst) if ends is None else map(_endpoint, ends)
    return f"{source} > {destination}: {_body(packet, connection)}{_fragment(packet)}"


def _endpoint(endpoint: tuple[str, int]) -> str:
    return f"{endpoint[0]}.{endpoint[1]}"


def _frame(packet: Packet) -> str:
    if packet.eth is None:
        return f"frame length {packet.length}"
    kind = f"ethertype 0x{packet.eth.type:04x}" if packet.eth.type >= FIRST_ETHERTYPE else "802.3"
    return f"{packet.eth.src} > {packet.eth.dst}: {kind} length {packet.payload_length}"


def _body(packet: Packet, connection: Connection | None) -> str:
    if packet.tcp is not None and connection is not None:
        text = tcp_text(packet, packet.tcp, connection) + _domain(packet)
    elif packet.udp is not None:
        text = f"udp length {packet.payload_length}" + _domain(packet)
    elif packet.icmp is not None:
        text = icmp_text(packet.icmp) + _quoted(packet.icmp.quoted)
    elif packet.icmp6 is not None:
        text = icmp6_text(packet.icmp6) + _quoted(packet.icmp6.quoted)
    else:
        protocol = "" if packet.ip is None else _protocol(packet.ip.protocol)
        text = f"{protocol} length {packet.payload_length}"
    return text


def _domain(packet: Packet) -> str:
    """Tell the DNS message; a TCP segment may hold a part of one, but a datagram without one is wrong."""
    if not domain.is_domain(packet):
        return ""
    message = packet.dns
    if message is not None:
        return f" {domain.text(message)}"
    whole = packet.udp is not None and len(packet.payload) == packet.payload_length
    return " [malformed: dns]" if whole else ""


def _fragment(packet: Packet) -> str:
    """Tell a fragment's place: `(frag id 7 offset 1480+)`, where `+` says that more follow."""
    ip = packet.ip
    if ip is None or not ip.is_fragment:
        return ""
    return f" (frag id {ip.id} offset {ip.fragment_offset}{'+' if ip.more_fragments else ''})"


def _quoted(quoted: Quoted | None) -> str:
    if quoted is None:
        return ""
    source, destination = quoted.ip.src, quoted.ip.dst
    if quoted.ports is not None:
        source, destination = _endpoint((source, quoted.ports[0])), _endpoint((destination, quoted.ports[1]))
    return f" [{source} > {destination} {_protocol(quoted.ip.protocol)}]"


def _protocol(number: int) -> str:
    return _PROTOCOLS.get(number, f"protocol {number}")
