"""A connection that is closed in one direction (the book's 3.3.2; RFC 9293 3.6, shutdown(2)).

left is the client, right the server; both programs are the test itself.
"""

import select
import socket
from collections.abc import Callable

import pytest

from lab.checks import tcp
from lab.link.instrument import Link
from lab.mutants import Sabotage, sockets
from lab.probes import tcp_pair
from lab.probes.tcp import read_exactly
from lab.probes.tcp_pair import PORT, await_state
from lab.running import Lab
from lab.trace.packet import Packet
from lab.trace.tcp import SEQUENCE_NUMBERS
from lab.trace.trace import Trace
from lab.wait import wait_until

ANSWER = b"all that you asked for"


def on_the_wire(order: Callable[[Link], object]) -> Sabotage:
    """What gives left's wire an order."""

    def give(lab: Lab) -> None:
        order(lab["left"].link())

    return give


class Thorough(socket.socket):
    """A socket whose every shutdown() is one of both directions."""

    def shutdown(self, _how: int) -> None:
        super().shutdown(socket.SHUT_RDWR)


def thorough(channel: socket.socket) -> socket.socket:
    return Thorough(fileno=channel.detach())


def arrives(channel: socket.socket, timeout: float = 5.0) -> bool:
    """Whether there is something to read in time, or an end."""
    return bool(select.select([channel], [], [], timeout)[0])


def unread(lab: Lab) -> int:
    """How many bytes have come to left's socket."""
    entry = tcp_pair.entry(lab["left"])
    return entry.receive_queue if entry else 0


def is_acknowledged(fin: Packet, trace: Trace) -> bool:
    """Whether the other side acknowledges this FIN, which takes one sequence number."""
    assert fin.tcp
    number = (fin.tcp.seq + fin.payload_length + 1) % SEQUENCE_NUMBERS
    return any(
        packet.tcp.is_ack and packet.tcp.ack == number
        for packet in trace
        if packet.tcp and packet.direction != fin.direction
    )


@pytest.mark.book("3.3.2")
@pytest.mark.topology("two-hosts-wire.yaml")
@pytest.mark.mutant("the FIN never comes", on_the_wire(lambda link: link.drop(tcp.is_fin, direction="out")))
@pytest.mark.mutant("the answer is lost", on_the_wire(lambda link: link.drop(tcp.has_data, direction="in")))
@pytest.mark.mutant("the client shuts both directions", sockets("left", thorough))
def test_a_side_that_has_said_all_it_has_to_say_can_still_listen(lab: Lab) -> None:
    """shutdown(SHUT_WR) sends a FIN: "that was my whole request". The answer may take its time, and be of any length.

    Meanwhile the client is in FIN_WAIT2 and the server in CLOSE_WAIT, for as long as both like: there is no timer.
    A server that forgets to close stays in CLOSE_WAIT for ever.
    """
    left, right = lab["left"], lab["right"]
    client, server = tcp_pair.connect(left, right)
    with client, server, left.capture() as capture:
        client.shutdown(socket.SHUT_WR)
        assert arrives(server)
        assert server.recv(1) == b""
        assert await_state(left, PORT, "FIN_WAIT2") == "FIN_WAIT2"
        assert await_state(right, PORT, "CLOSE_WAIT") == "CLOSE_WAIT"
        assert [one.timer for node in (left, right) if (one := tcp_pair.entry(node))] == ["", ""]

        assert not arrives(client, timeout=0)
        server.sendall(ANSWER)
        assert arrives(client)
        assert read_exactly(client, len(ANSWER)) == ANSWER
        server.close()
        assert arrives(client)
        assert client.recv(1) == b""
        assert await_state(right, PORT, "CLOSED") == "CLOSED"

    request_ends, *_, answer_ends = fins = capture.trace.where(tcp.is_fin)
    assert (request_ends.direction, answer_ends.direction) == ("out", "in")
    assert request_ends.time_ns < capture.trace.first(tcp.has_data).time_ns < answer_ends.time_ns
    assert all(is_acknowledged(fin, capture.trace) for fin in fins)


@pytest.mark.book("3.3.2")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("the client shuts both directions", sockets("left", thorough))
def test_nobody_is_told_that_a_side_reads_no_more(lab: Lab) -> None:
    """shutdown(SHUT_RD) is a matter between program and kernel: TCP has no segment for it, and the peer sends on.

    What comes is acknowledged as ever. Linux even hands it out: read() says "end" only while nothing is there.
    """
    left, right = lab["left"], lab["right"]
    client, server = tcp_pair.connect(left, right)
    with client, server, left.capture() as capture:
        client.shutdown(socket.SHUT_RD)
        assert arrives(client, timeout=0)
        assert client.recv(1) == b""
        assert (tcp_pair.state(left), tcp_pair.state(right)) == ("ESTABLISHED", "ESTABLISHED")
        server.sendall(ANSWER)
        wait_until(lambda: unread(lab) == len(ANSWER), timeout=5, what="the answer")
        assert read_exactly(client, len(ANSWER)) == ANSWER
        assert client.recv(1) == b""

    first = capture.trace.first(lambda packet: packet.tcp is not None)
    assert (first.direction, first.payload) == ("in", ANSWER)
