"""Connections that never begin, or end, with a reset (the book's 3.5.1 and 3.5.2; RFC 9293 3.5.2, 3.10.7).

left is the client, right the server; both programs are the test itself.
"""

import errno
import select
import socket

import pytest

from lab.checks import tcp
from lab.mutants import sockets, sysctl
from lab.probes import tcp_pair
from lab.probes.tcp import reset
from lab.probes.tcp_pair import CLOSED, PORT, await_state
from lab.running import Lab
from lab.trace.packet import Packet
from lab.trace.tcp import ACK, FIN, RST, SEQUENCE_NUMBERS

WORDS = b"are you reading this?"


class PoliteSocket(socket.socket):
    """A socket that reads all there is before it closes, and does not linger."""

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:  # type: ignore[override]
        """Set any option but SO_LINGER."""
        if (level, option) != (socket.SOL_SOCKET, socket.SO_LINGER):
            super().setsockopt(level, option, value)

    def close(self) -> None:
        """Close with an empty buffer."""
        if self.fileno() >= 0 and self.type == socket.SOCK_STREAM and select.select([self], [], [], 0)[0]:
            self.recv(1 << 16)
        super().close()


def polite(channel: socket.socket) -> socket.socket:
    return PoliteSocket(fileno=channel.detach())


def error_of_reading(connection: socket.socket) -> int:
    """The errno with which the next read ends within five seconds; 0 if there is data or an end."""
    connection.settimeout(5)
    try:
        connection.recv(1)
    except OSError as error:
        return error.errno or errno.ETIMEDOUT
    return 0


def connect_error(lab: Lab) -> int:
    """The errno of left's attempt to connect to right from a port that the kernel chooses; 0 if it works."""
    with lab["left"].socket(socket.AF_INET, socket.SOCK_STREAM) as channel:
        channel.settimeout(5)
        return channel.connect_ex((lab["right"].address(), PORT))


def is_segment(packet: Packet) -> bool:
    return packet.tcp is not None


@pytest.mark.book("3.5.1")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("somebody listens", lambda lab: tcp_pair.listening(lab["right"]))
def test_a_port_that_nobody_listens_on_refuses(lab: Lab) -> None:
    """The kernel answers the SYN with a reset, and connect() says ECONNREFUSED at once instead of waiting.

    There is no connection, so the reset has number 0 and no window: nothing more can come. What lets the client
    believe it is that it acknowledges the SYN.
    """
    with lab["left"].capture() as capture:
        assert connect_error(lab) == errno.ECONNREFUSED

    syn, answer = (packet.tcp for packet in capture.trace.where(is_segment))
    assert syn and answer
    assert syn.is_syn
    assert answer.flags == RST | ACK
    assert (answer.seq, answer.ack, answer.window, answer.options) == (0, (syn.seq + 1) % SEQUENCE_NUMBERS, 0, ())


@pytest.mark.book("3.5.1")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("right never waits", sysctl("right", "net.ipv4.tcp_max_tw_buckets", 0))
def test_a_port_of_a_connection_that_is_over_refuses_too(lab: Lab) -> None:
    """A port in TIME_WAIT is taken, but nobody listens: whoever is not of the old connection gets a reset."""
    client, server = tcp_pair.connect(lab["left"], lab["right"])
    with client, server:
        server.close()
        assert client.recv(1) == b""
    assert await_state(lab["right"], PORT, "TIME_WAIT") == "TIME_WAIT"

    assert connect_error(lab) == errno.ECONNREFUSED
    assert tcp_pair.state(lab["right"]) == "TIME_WAIT"


@pytest.mark.book("3.5.2")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("left says goodbye", sockets("left", polite))
def test_a_program_can_break_a_connection_off(lab: Lab) -> None:
    """SO_LINGER with no time to linger: close() sends a reset instead of a FIN, and both ends are gone at once.

    The other program reads an error where it would have read the end: it can tell that not all was said. This reset
    is one of a connection, with its numbers and window, and nobody waits in TIME_WAIT.
    """
    left, right = lab["left"], lab["right"]
    client, server = tcp_pair.connect(left, right)
    with client, server, left.capture() as capture:
        client.sendall(WORDS)
        assert server.recv(100) == WORDS
        reset(client)
        assert error_of_reading(server) == errno.ECONNRESET
        assert (tcp_pair.state(left), await_state(right, PORT, CLOSED)) == (CLOSED, CLOSED)

    data, *_, last = (packet.tcp for packet in capture.trace.where(is_segment))
    assert data and last
    assert last.flags == RST | ACK
    assert (last.seq - data.seq) % SEQUENCE_NUMBERS == len(WORDS)
    assert last.window > 0


@pytest.mark.book("3.5.2")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("left reads before it closes", sockets("left", polite))
def test_whoever_closes_without_reading_breaks_the_connection_off(lab: Lab) -> None:
    """A FIN would tell the sender that all was well; so close() sends a reset if something is unread (RFC 2525 2.17).

    With everything read the same call sends a FIN.
    """
    left, right = lab["left"], lab["right"]
    endings = {}
    for port, has_read in enumerate((True, False), PORT):
        client, server = tcp_pair.connect(left, right, port)
        with client, server, left.capture() as capture:
            server.sendall(WORDS)
            assert client.recv(100, 0 if has_read else socket.MSG_PEEK) == WORDS
            client.close()
            error = error_of_reading(server)
        ending = capture.trace.first(lambda packet: tcp.is_fin(packet) or tcp.is_reset(packet))
        assert ending.tcp and ending.direction == "out"
        endings[has_read] = ending.tcp.flags & (FIN | RST), error

    assert endings == {True: (FIN, 0), False: (RST, errno.ECONNRESET)}
