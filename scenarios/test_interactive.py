"""Small segments: acknowledgments that wait, and data that waits for them (the book's 3.6; RFC 1122 4.2.3, RFC 896).

left (client) ── lan ── right (server); both programs are the test itself.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.checks import ip
from lab.checks import tcp as segments
from lab.mutants import command, sockets
from lab.probes import tcp, tcp_pair
from lab.running import Lab
from lab.trace.trace import Trace
from lab.wait import comes_true

SHORTEST_DELAY = 36_000_000  # ns: the kernel's delay is 40 ms, counted in ticks of 4 ms or less
LINUX_CORK = 190_000_000  # ns: 200 ms, counted likewise

# No probe of the sender's own shortens the wait for an acknowledgment (RFC 8985, section 7).
WITHOUT_PROBES = {"left": {"net.ipv4.tcp_early_retrans": 0}}
# Whoever acknowledges at once knows it by the route.
AT_ONCE = command("right", "ip", "route", "replace", "10.0.1.0/24", "dev", "eth0", "quickack", "1")


def undelayed(channel: socket.socket) -> socket.socket:
    channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return channel


class Stubborn(socket.socket):
    """A socket that sends when it likes."""

    def setsockopt(self, level: int, option: int, *value: int) -> None:  # type: ignore[override]
        if option not in {socket.TCP_CORK, socket.TCP_NODELAY}:
            super().setsockopt(level, option, *value)


def stubborn(channel: socket.socket) -> socket.socket:
    return Stubborn(fileno=channel.detach())


@contextmanager
def connected(lab: Lab) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection, whose server is no longer in a hurry to acknowledge, as one is at first."""
    client, server = tcp_pair.connect(lab["left"], lab["right"])
    with client, server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        yield client, server


def who_said_what(trace: Trace) -> list[str]:
    """Each segment that is no part of the handshake: "left 1" with its bytes of data, "right ack"."""
    names = {"10.0.1.1": "left", "10.0.1.2": "right"}
    return [
        f"{names[packet.ip.src]} {packet.payload_length or 'ack'}"
        for packet in trace
        if packet.tcp and packet.ip and not packet.tcp.is_syn
    ]


@pytest.mark.topology("two-hosts.yaml", sysctls=WITHOUT_PROBES)
@pytest.mark.book("3.6")
@pytest.mark.mutant("the server acknowledges at once", AT_ONCE)
def test_an_acknowledgment_waits_for_something_to_go_with(lab: Lab) -> None:
    """A receiver may hold an ACK back, in the hope that the program will answer and the ACK can go along.

    Linux waits for 40 ms, and no longer: RFC 1122 allows half a second. The book saw it as the telnet echo's ACK that
    came with the echo.
    """
    with connected(lab) as (client, server), lab["right"].capture() as capture:
        client.sendall(b"x")
        assert tcp.read_exactly(server, 1) == b"x"
        assert comes_true(lambda: not any(one.send_queue for one in lab["left"].sockets()))
    data = capture.trace.first(segments.has_data)
    answer = capture.trace.first(ip.sent_by(lab["right"].address()))
    assert answer.payload_length == 0
    assert answer.time_ns - data.time_ns >= SHORTEST_DELAY


@pytest.mark.topology("two-hosts.yaml", sysctls=WITHOUT_PROBES)
@pytest.mark.book("3.6")
@pytest.mark.mutant("the server acknowledges at once", AT_ONCE)
def test_an_answer_takes_the_acknowledgment_along(lab: Lab) -> None:
    """A server that answers within 40 ms says both in one segment: half as many packets for a terminal far away."""
    rounds = 10
    with connected(lab) as (client, server), lab["right"].capture() as capture:
        for _ in range(rounds):
            client.sendall(b"x")
            assert tcp.read_exactly(server, 1) == b"x"
            server.sendall(b"x")
            assert tcp.read_exactly(client, 1) == b"x"
    said = who_said_what(capture.trace)
    assert said.count("right 1") == rounds
    assert said.count("right ack") < rounds / 2  # none, unless this test itself was held up


@pytest.mark.topology("two-hosts.yaml", sysctls=WITHOUT_PROBES)
@pytest.mark.book("3.6")
@pytest.mark.mutant("the client has turned it off", sockets("left", undelayed))
def test_what_is_small_waits_while_something_small_is_on_its_way(lab: Lab) -> None:
    """Nagle's algorithm: one segment that is not full may be on its way; what is written meanwhile is collected.

    So ten writes of one byte are two segments, of one byte and of nine, unless the writer is very slow.
    """
    with connected(lab) as (client, server), lab["left"].capture() as capture:
        for _ in range(10):
            client.send(b"x")
        assert tcp.read_exactly(server, 10) == b"x" * 10
    sent = [packet.payload_length for packet in capture.trace.where(segments.has_data)]
    assert sum(sent) == 10
    assert len(sent) <= 5
    in_turn = [line.split()[0] for line in who_said_what(capture.trace)][: 2 * len(sent) - 1]
    assert in_turn == ["left", "right"] * (len(sent) - 1) + ["left"]


@pytest.mark.topology("two-hosts.yaml", sysctls=WITHOUT_PROBES)
@pytest.mark.book("3.6")
@pytest.mark.mutant("somebody has turned it on again", sockets("left", stubborn))
def test_what_is_small_does_not_wait_where_nagles_algorithm_is_off(lab: Lab) -> None:
    """With TCP_NODELAY ten writes are ten segments, each with 40 bytes of headers and more around its one byte."""
    with connected(lab) as (client, server), lab["left"].capture() as capture:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(10):
            client.send(b"x")
        assert tcp.read_exactly(server, 10) == b"x" * 10
    assert [packet.payload_length for packet in capture.trace.where(segments.has_data)] == [1] * 10


@pytest.mark.topology("two-hosts.yaml", sysctls=WITHOUT_PROBES)
@pytest.mark.book("3.6")
@pytest.mark.mutant("the client has turned Nagle's algorithm off", sockets("left", undelayed))
def test_a_request_in_two_writes_waits_for_an_acknowledgment_that_waits_for_the_request(lab: Lab) -> None:
    """Write, write, read: the second half waits for the first one's ACK, which waits for an answer to go with.

    The server cannot answer half a request. So nothing happens for 40 ms, each time: a server with one such client gets
    no more than 25 requests a second out of it, and nobody is busy. The cure is one write, or writev.
    """
    with connected(lab) as (client, server), lab["left"].capture() as capture:
        client.send(b"GET / ")
        client.send(b"HTTP/1.0\r\n\r\n")
        assert tcp.read_exactly(server, 18) == b"GET / HTTP/1.0\r\n\r\n"
        server.sendall(b"200")
        assert tcp.read_exactly(client, 3) == b"200"
    assert who_said_what(capture.trace)[:3] == ["left 6", "right ack", "left 12"]


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("3.6")
@pytest.mark.mutant("the cork does not fit", sockets("left", stubborn))
def test_a_cork_holds_back_whatever_is_not_full_until_it_is_pulled(lab: Lab) -> None:
    """TCP_CORK lets a program write in pieces and send in one: header and file, then the cork is pulled (tcp(7))."""
    with connected(lab) as (client, server), lab["left"].capture() as capture:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for piece in (b"header, ", b"header, ", b"file"):
            client.send(piece)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        assert tcp.read_exactly(server, 20) == b"header, header, file"
    assert [packet.payload_length for packet in capture.trace.where(segments.has_data)] == [20]


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("3.6")
@pytest.mark.mutant("the cork does not fit", sockets("left", stubborn))
def test_a_cork_that_nobody_pulls_comes_out_by_itself(lab: Lab) -> None:
    """After 200 ms the kernel sends what there is: a program that forgets its cork is slow, and not stuck."""
    with connected(lab) as (client, server), lab["left"].capture() as capture:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        client.send(b"one")
        assert tcp.read_exactly(server, 3) == b"one"
        client.send(b"two")
        assert tcp.read_exactly(server, 3) == b"two"
    first, second = capture.trace.where(segments.has_data)
    assert second.time_ns - first.time_ns >= LINUX_CORK
