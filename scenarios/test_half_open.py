"""Connections that one end has forgotten (the book's 3.5.3; RFC 9293 3.5.1, RFC 5961 4).

A machine that loses its power takes its connections along without a word. The other end has an open connection to
nobody, and finds out as soon as something is sent.
"""

import errno
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.checks import tcp
from lab.mutants import Sabotage
from lab.probes import tcp_pair
from lab.probes.tcp_pair import PORT, await_state
from lab.probes.tcpinfo import tcp_info
from lab.running import Lab
from lab.trace.packet import Packet
from lab.trace.tcp import ACK, FIN, RST, SEQUENCE_NUMBERS, SYN

WORDS = b"are you there?"


def immortal(name: str) -> Sabotage:
    """A node that cannot be killed."""

    def protect(lab: Lab) -> None:
        lab[name].kill = lambda: None  # type: ignore[method-assign]

    return protect


@contextmanager
def forgotten_by_right(lab: Lab) -> Iterator[socket.socket]:
    """Left's end of a connection that right knows nothing of any more; right's machine is up again."""
    client, server = tcp_pair.connect(lab["left"], lab["right"])
    with client, server:
        lab["right"].kill()
        lab["right"].boot()
        yield client


def send_error(connection: socket.socket) -> int:
    """The errno of an attempt to send; 0 if it works."""
    try:
        connection.send(WORDS)
    except OSError as error:
        return error.errno or errno.ETIMEDOUT
    return 0


def flags(packet: Packet) -> int:
    """The flags that make a segment what it is; 0 without TCP."""
    return packet.tcp.flags & (SYN | FIN | RST | ACK) if packet.tcp else 0


def is_segment(packet: Packet) -> bool:
    return packet.tcp is not None


@pytest.mark.book("3.5.3")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("right keeps its power", immortal("right"))
def test_the_first_write_into_a_half_open_connection_succeeds_and_the_second_fails(lab: Lab) -> None:
    """send() only hands the bytes to the kernel. They are answered with a reset, which the next call gets to know of.

    ECONNRESET is said once; after that it is EPIPE, with a SIGPIPE that ends programs which do not ignore it. The
    reset takes its number from the segment's acknowledgement: right remembers none of its own.
    """
    left, right = lab["left"], lab["right"]
    with forgotten_by_right(lab) as client, left.capture() as capture:
        assert tcp_info(client).state == "ESTABLISHED"
        assert send_error(client) == 0
        assert left.ping(right.address(), timeout=5).received == 1  # the reset came before

        assert tcp_info(client).state == "CLOSE"
        assert [send_error(client) for _ in range(3)] == [errno.ECONNRESET, errno.EPIPE, errno.EPIPE]

    data, answer = (packet.tcp for packet in capture.trace.where(is_segment))
    assert data and answer
    assert (answer.flags, answer.seq, answer.window) == (RST, data.ack, 0)


@pytest.mark.book("3.5.3")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("right keeps its power", immortal("right"))
def test_who_only_reads_needs_keepalive_to_find_out(lab: Lab) -> None:
    """A reader sends nothing, so nothing tells it: it would wait for ever, in ESTABLISHED and without a timer.

    With SO_KEEPALIVE the kernel asks after two hours, here after a second: an empty segment with a number that is
    acknowledged already, which a peer that knows the connection answers, and one that does not, resets.
    """
    left = lab["left"]
    with forgotten_by_right(lab) as client, left.capture() as capture:
        entry = tcp_pair.entry(left)
        assert entry
        assert (entry.state, entry.timer) == ("ESTABLISHED", "")
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        entry = tcp_pair.entry(left)
        assert entry
        assert entry.timer == "keepalive"
        assert select.select([client], [], [], 5)[0]
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET

    probe, answer = capture.trace.where(is_segment)
    assert probe.tcp and answer.tcp
    assert (flags(probe), probe.payload_length) == (ACK, 0)
    assert (flags(answer), answer.tcp.seq) == (RST, probe.tcp.ack)


@pytest.mark.book("3.5.3")
@pytest.mark.topology("two-hosts-wire.yaml")
@pytest.mark.mutant("left's reset is lost", lambda lab: lab["left"].link().drop(tcp.is_reset, direction="out") and None)
def test_a_client_that_comes_back_from_the_same_port_clears_the_old_connection_away(lab: Lab) -> None:
    """The server takes the new SYN for one that is out of place, and says where it is (RFC 5961: a challenge ACK).

    The client knows nothing of that and resets it, with the number that the server expects; so the server believes it.
    The next SYN opens the new connection.
    """
    left, right = lab["left"], lab["right"]
    with tcp_pair.listening(right) as listener:
        with tcp_pair.bound(left) as client:
            client.settimeout(5)
            client.connect(listener.getsockname())
            old, _address = listener.accept()
            left.kill()
            left.boot()
        assert await_state(right, PORT, "ESTABLISHED") == "ESTABLISHED"

        with old, tcp_pair.bound(left) as client, left.capture() as capture:
            client.settimeout(5)
            assert client.connect_ex(listener.getsockname()) == 0
            assert old.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET

    syn, challenge, reset, syn_again, answer, *_ = capture.trace.where(is_segment)
    assert [flags(one) for one in (syn, challenge, reset, syn_again, answer)] == [SYN, ACK, RST, SYN, SYN | ACK]
    assert syn.tcp and challenge.tcp and reset.tcp
    assert challenge.tcp.ack != (syn.tcp.seq + 1) % SEQUENCE_NUMBERS
    assert reset.tcp.seq == challenge.tcp.ack
