"""TIME_WAIT: the side that closes first remembers the connection for a minute (the book's 3.4.2; RFC 9293 3.6).

It does so for two reasons: the last acknowledgement may be lost, and old segments may still be on their way.
"""

import time

import pytest

from lab.checks import tcp
from lab.link.instrument import Order
from lab.mutants import sysctl
from lab.node import Node
from lab.probes import tcp_pair
from lab.probes.tcp_pair import CLOSED, PORT, await_state
from lab.running import Lab
from lab.trace.packet import Packet
from lab.wait import wait_until

MINUTE = 60_000  # milliseconds: TCP_TIMEWAIT_LEN, which no sysctl changes
MOMENT = 10_000  # milliseconds that may have passed since
BUCKETS = "net.ipv4.tcp_max_tw_buckets"
RFC1337 = "net.ipv4.tcp_rfc1337"

left_never_waits = sysctl("left", BUCKETS, 0)


def open_and_close(first: Node, second: Node, port: int = PORT) -> None:
    """Make a connection and end it; the first is the first to close."""
    one, other = tcp_pair.connect(first, second, port)
    with other:
        one.close()
        assert other.recv(1) == b""
    assert await_state(second, port, CLOSED) == CLOSED


def remaining(node: Node) -> int:
    """Milliseconds for which the node goes on waiting; 0 if it does not."""
    entry = tcp_pair.entry(node)
    return entry.expires_ms if entry and (entry.state, entry.timer) == ("TIME_WAIT", "time-wait") else 0


def overflows(node: Node) -> int:
    """How many connections were forgotten at once because too many were waiting."""
    return node.counters()["TcpExtTCPTimeWaitOverflow"]


def is_last_ack(packet: Packet) -> bool:
    """Whether left acknowledges a FIN, having sent its own."""
    return packet.tcp is not None and packet.tcp.is_ack and not packet.tcp.is_fin


@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("left never waits", left_never_waits)
def test_the_side_that_closes_first_waits_a_minute(lab: Lab) -> None:
    """The socket table shows how much of the 60 seconds is left. Linux has no knob for them (RFC 9293: 4 minutes).

    The other side is done as soon as its FIN is acknowledged. No process has anything to do with it any more.
    """
    left, right = lab["left"], lab["right"]
    open_and_close(left, right)

    entry = tcp_pair.entry(left)
    assert entry
    assert (entry.state, entry.timer, entry.inode) == ("TIME_WAIT", "time-wait", 0)
    assert MINUTE - MOMENT < entry.expires_ms <= MINUTE
    assert tcp_pair.state(right) == CLOSED


@pytest.mark.slow
@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("left never waits", left_never_waits)
def test_after_the_minute_nothing_is_left_of_the_connection(lab: Lab) -> None:
    """TIME_WAIT ends by itself, and the port that was taken is free again."""
    left = lab["left"]
    begun = time.monotonic()
    open_and_close(left, lab["right"])
    assert remaining(left) > 0
    with pytest.raises(OSError, match="Address already in use"):
        tcp_pair.bound(left)
    assert await_state(left, PORT, CLOSED, timeout=90) == CLOSED

    assert time.monotonic() - begun > MINUTE / 1000 - 0.1
    tcp_pair.bound(left).close()


@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts.yaml", sysctls={"left": {BUCKETS: 1}})
@pytest.mark.mutant("there is room for all", sysctl("left", BUCKETS, 65536))
def test_when_too_many_wait_the_newest_is_forgotten(lab: Lab) -> None:
    """tcp_max_tw_buckets evicts nobody: a connection for which there is no room skips TIME_WAIT, and is counted."""
    left, right = lab["left"], lab["right"]
    before = overflows(left)
    ports = range(PORT, PORT + 3)
    for port in ports:
        open_and_close(left, right, port)

    assert [tcp_pair.state(left, port) for port in ports] == ["TIME_WAIT", CLOSED, CLOSED]
    assert overflows(left) - before == 2


@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts-wire.yaml")
@pytest.mark.mutant("left never waits", left_never_waits)
def test_a_lost_last_acknowledgement_is_sent_again(lab: Lab) -> None:
    """The first reason for TIME_WAIT: the other side repeats its FIN until somebody acknowledges it.

    Each time the minute begins anew. Without TIME_WAIT the FIN would be answered with a reset, as if it were an error.
    """
    left, right = lab["left"], lab["right"]
    link = left.link()
    client, server = tcp_pair.connect(left, right)
    with client, server, left.capture() as capture:
        client.close()
        assert await_state(left, PORT, "FIN_WAIT2") == "FIN_WAIT2"
        lost = link.drop(is_last_ack, nth=1, direction="out")
        again = link.hold(tcp.is_fin, nth=range(2, 10), direction="in")
        server.close()
        wait_until(lambda: again.done > 0, timeout=10, what="the FIN again")
        assert (tcp_pair.state(left), tcp_pair.state(right)) == ("TIME_WAIT", "LAST_ACK")

        begun = time.monotonic()
        before = remaining(left)
        again.cancel()
        assert await_state(right, PORT, CLOSED) == CLOSED
        after = remaining(left)
        passed = (time.monotonic() - begun) * 1000

    assert lost.done == 1
    assert after > before - passed + 100  # it was more than 200 ms old
    fins = capture.trace.where(tcp.is_fin, lambda packet: packet.direction == "in")
    acks = capture.trace.where(is_last_ack, lambda packet: packet.direction == "out")
    assert len(fins) >= 2 and len(acks) >= 2
    assert not capture.trace.where(tcp.is_reset)


def old_duplicate(lab: Lab) -> Order:
    """Make a connection that left closes first, while one of its segments is still on its way to left.

    The wire keeps the first copy of what right sent, and left got the second.
    """
    left, right = lab["left"], lab["right"]
    late = left.link().hold(tcp.has_data, nth=1, direction="in")
    client, server = tcp_pair.connect(left, right)
    with client, server:
        server.sendall(b"hello")
        assert client.recv(5) == b"hello"
        client.close()
        assert server.recv(1) == b""
    assert await_state(right, PORT, CLOSED) == CLOSED
    assert late.done == 1
    return late


@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts-wire.yaml")
@pytest.mark.mutant("left heeds no reset while it waits", sysctl("left", RFC1337, 1))
@pytest.mark.mutant("left never waits", left_never_waits)
def test_an_old_duplicate_can_end_the_wait(lab: Lab) -> None:
    """The second reason for TIME_WAIT: an old segment finds somebody who knows that it is old, and answers with an ACK.

    But the other side, which has forgotten the connection, resets that ACK, and the reset ends TIME_WAIT: it falls to
    the very segments that it was made for (RFC 1337).
    """
    left, right = lab["left"], lab["right"]
    late = old_duplicate(lab)
    assert remaining(left) > 0
    with left.capture() as capture:
        late.cancel()
        assert await_state(left, PORT, CLOSED) == CLOSED

    duplicate, answer, reset = capture.trace.where(lambda packet: packet.tcp is not None)
    assert (duplicate.direction, duplicate.payload) == ("in", b"hello")
    assert (answer.direction, is_last_ack(answer)) == ("out", True)
    assert (reset.direction, tcp.is_reset(reset)) == ("in", True)
    assert tcp_pair.state(right) == CLOSED


@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts-wire.yaml", sysctls={"left": {RFC1337: 1}})
@pytest.mark.mutant("left heeds every reset", sysctl("left", RFC1337, 0))
def test_with_tcp_rfc1337_a_reset_does_not_end_the_wait(lab: Lab) -> None:
    """The remedy of RFC 1337, which is off by default: in TIME_WAIT resets are not heeded."""
    left = lab["left"]
    late = old_duplicate(lab)
    with left.capture() as capture:
        late.cancel()
        assert left.ping(lab["right"].address(), timeout=5).received == 1  # the reset came before

    assert capture.trace.first(tcp.is_reset).direction == "in"
    assert remaining(left) > MINUTE - MOMENT
