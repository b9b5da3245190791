"""Much data: windows that scale, close and open again (the book's 3.7; RFC 9293 3.8.6, RFC 7323).

left (client) ── lan ── right (server); both programs are the test itself.
"""

import select
import socket
from itertools import pairwise

import pytest

from lab.checks import ip
from lab.checks import tcp as segments
from lab.mutants import drop, sockets, sysctl
from lab.probes import tcp, tcp_pair
from lab.probes.tcpinfo import tcp_info
from lab.running import Lab
from lab.trace.packet import Packet
from lab.trace.trace import Trace
from lab.wait import comes_true

SCALING = "net.ipv4.tcp_window_scaling"
LARGEST_UNSCALED = 65_535
AMOUNT = 4_000_000
FULL = 1448  # bytes of a full segment, with timestamps


def carry(client: socket.socket, server: socket.socket, amount: int) -> None:
    """Send from one end and read at the other, as fast as both go."""
    client.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    sent = received = 0
    while received < amount:
        writers = [client] if sent < amount else []
        readable, writable, _ = select.select([server], writers, [], 5)
        assert readable or writable
        if writable:
            sent += client.send(bytes(min(amount - sent, 1 << 20)))
        if readable:
            received += len(server.recv(1 << 20))


def windows(trace: Trace, address: str) -> list[int]:
    """The windows that an address has offered, in bytes: those of the handshake are never scaled."""
    sent = trace.where(ip.sent_by(address), lambda packet: packet.tcp is not None)
    opening = sent.first(lambda packet: packet.tcp is not None and packet.tcp.is_syn).tcp
    assert opening
    shift = opening.window_scale or 0
    return [packet.tcp.window << (0 if packet.tcp.is_syn else shift) for packet in sent if packet.tcp]


def bulk(lab: Lab) -> Trace:
    """What right's wire saw of much data from left."""
    with lab["right"].capture() as capture:
        client, server = tcp_pair.connect(lab["left"], lab["right"])
        with client, server:
            carry(client, server, AMOUNT)
    return capture.trace


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("3.7")
@pytest.mark.mutant("the server cannot scale", sysctl("right", SCALING, 0))
def test_a_window_can_be_larger_than_its_field(lab: Lab) -> None:
    """Sixteen bits count to 65535; each side may say in its SYN by how many bits its windows are to be shifted.

    The window grows with what the program reads (the kernel sizes the buffer), so more is on its way than could be
    said without scaling. Only the two SYNs have the shift: a capture that begins later cannot know.
    """
    trace = bulk(lab)
    assert max(windows(trace, lab["right"].address())) > LARGEST_UNSCALED


@pytest.mark.topology("two-hosts.yaml", sysctls={"left": {SCALING: 0}})
@pytest.mark.book("3.7")
@pytest.mark.mutant("both can", sysctl("left", SCALING, 1))
def test_unless_both_sides_scale_neither_does(lab: Lab) -> None:
    """An option that was not offered is not accepted: the server's SYN-ACK has no scale either, whatever it can."""
    trace = bulk(lab)
    answer = trace.first(segments.is_syn_ack).tcp
    assert answer and answer.window_scale is None
    assert max(windows(trace, lab["right"].address())) <= LARGEST_UNSCALED


class Nibbler(socket.socket):
    """A socket that gives the kernel no more than a segment at once."""

    def sendall(self, data: bytes) -> None:  # type: ignore[override]
        for first in range(0, len(data), FULL):
            super().sendall(data[first : first + FULL])


def nibbling(channel: socket.socket) -> socket.socket:
    return Nibbler(fileno=channel.detach())


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("3.7")
@pytest.mark.mutant("each segment is a write", sockets("left", nibbling))
def test_the_last_segment_of_a_write_is_pushed(lab: Lab) -> None:
    """PSH tells the receiver to hand over what it has. The kernel sets it where a write ends, and nobody asks it to."""
    client, server = tcp_pair.connect(lab["left"], lab["right"])
    with client, server, lab["left"].capture() as capture:
        for _ in range(2):
            client.sendall(bytes(5000))
            assert len(tcp.read_exactly(server, 5000)) == 5000
    data = capture.trace.where(segments.has_data)
    pushed = [(packet.payload_length, packet.tcp.is_psh) for packet in data if packet.tcp]
    assert pushed == [(FULL, False), (FULL, False), (FULL, False), (5000 - 3 * FULL, True)] * 2


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("3.7")
@pytest.mark.mutant("nobody hears that it has closed", drop("left", "prerouting", "tcp sport 7000 tcp window 0"))
def test_a_window_that_has_closed_is_asked_after_until_it_opens(lab: Lab) -> None:
    """The server does not read; its window closes, and the client may send nothing. An ACK that opens it could be lost.

    So the client asks: with a segment of no data at a sequence number that was acknowledged already, which has to be
    answered. It asks less and less often, twice the time between two probes each time. Nothing else passes; the
    connection could stay so for ever. When the server reads, it says at once that there is room.
    """
    client, server = tcp_pair.connect(lab["left"], lab["right"])
    with client, server, lab["left"].capture() as capture:
        sent = tcp.send_until_stalled(client, bytes(64 << 20))
        asking = tcp_pair.entry(lab["left"])
        assert asking and asking.timer == "probe"
        assert comes_true(lambda: tcp_info(client).backoff >= 4, timeout=10)
        server.settimeout(5)
        assert len(tcp.read_exactly(server, sent)) == sent

    trace = capture.trace
    closed = [packet.tcp for packet in trace if packet.tcp and is_closed(lab, packet)]
    probes = trace.where(
        ip.sent_by(lab["left"].address()),
        lambda packet: packet.tcp is not None and packet.payload_length == 0 and packet.tcp.seq == closed[0].ack - 1,
    )
    assert len(probes) >= 4
    gaps = [later.time_ns - earlier.time_ns for earlier, later in pairwise(probes)]
    assert all(1.7 < later / earlier < 2.4 for earlier, later in pairwise(gaps))
    assert len(closed) >= len(probes)
    assert trace.where(lambda packet: packet.time_ns > probes[-1].time_ns, segments.has_data)


def is_closed(lab: Lab, packet: Packet) -> bool:
    """Whether the server says that it has no room."""
    return ip.sent_by(lab["right"].address())(packet) and packet.tcp is not None and packet.tcp.window == 0
