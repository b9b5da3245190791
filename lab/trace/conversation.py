"""Which TCP connection a segment belongs to, and where that connection's sequence numbers begin."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.trace.packet import Packet
from lab.trace.tcp import SEQUENCE_NUMBERS, TCP

Endpoint = tuple[str, int]
"""(address, port)"""


@dataclass(slots=True)
class Connection:
    """One TCP connection as far as it was seen. Grows while a `Follower` follows it.

    Attributes:
        client: who sent the SYN; of a connection that was seen from its middle on, the first sender.
        initial: the initial sequence number of each endpoint that is known.
        opened: whether a segment without SYN was seen.
    """

    client: Endpoint
    server: Endpoint
    initial: dict[Endpoint, int] = field(default_factory=dict)
    opened: bool = False

    def relative(self, sender: Endpoint, number: int) -> int:
        """Count a sequence number from its sender's initial one; absolute where that is not known."""
        return (number - self.initial.get(sender, 0)) % SEQUENCE_NUMBERS


class Follower:
    """Sorts segments into connections, in the order they come.

    A SYN opens a new connection, unless it is seen again: retransmitted, or captured at another node.
    """

    def __init__(self) -> None:
        self._current: dict[frozenset[Endpoint], Connection] = {}

    def follow(self, packet: Packet) -> Connection | None:
        """Return the connection of a packet, the same object each time; None without TCP."""
        tcp, ends = packet.tcp, endpoints(packet)
        if tcp is None or ends is None:
            return None
        source, destination = ends
        key = frozenset(ends)
        connection = self._current.get(key)
        if connection is None or _opens(connection, source, tcp):
            server_first = tcp.is_syn and tcp.is_ack
            client, server = (destination, source) if server_first else (source, destination)
            connection = self._current[key] = Connection(client, server)
        _learn(connection, source, destination, tcp)
        return connection


def endpoints(packet: Packet) -> tuple[Endpoint, Endpoint] | None:
    """Return (source, destination) of a TCP segment or UDP datagram."""
    transport = packet.tcp or packet.udp
    if packet.ip is None or transport is None:
        return None
    return (packet.ip.src, transport.source_port), (packet.ip.dst, transport.destination_port)


def _opens(connection: Connection, source: Endpoint, tcp: TCP) -> bool:
    """Whether a segment begins a new connection between the endpoints of an older one."""
    if not tcp.is_syn or tcp.is_ack:
        return False
    if source in connection.initial:
        return connection.initial[source] != tcp.seq
    # The peer's SYN may cross the client's: a simultaneous open (RFC 9293, section 3.5).
    return connection.opened


def _learn(connection: Connection, source: Endpoint, destination: Endpoint, tcp: TCP) -> None:
    if tcp.is_syn:
        connection.initial.setdefault(source, tcp.seq)
    else:
        connection.opened = True
        # Seen from the middle on: the first byte seen counts as the first byte sent. A reset tells
        # nothing, the one that refuses a connection has sequence number 0.
        if not tcp.is_rst:
            connection.initial.setdefault(source, (tcp.seq - 1) % SEQUENCE_NUMBERS)
    if tcp.is_ack:
        connection.initial.setdefault(destination, (tcp.ack - 1) % SEQUENCE_NUMBERS)
