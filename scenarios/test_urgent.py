"""Urgent data (the book's 3.8; RFC 6093, tcp(7)).

left (client) ── lan ── right (server); both programs are the test itself.
"""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from struct import unpack

import pytest

from lab.checks import tcp as segments
from lab.mutants import sockets, sysctl
from lab.probes import tcp, tcp_pair
from lab.running import Lab
from lab.trace.packet import Packet
from lab.wait import comes_true

SIOCATMARK = 0x8905  # ioctl_sockets; Python has no name for it


class Deaf(socket.socket):
    """A socket whose send knows no flags."""

    def send(self, data: bytes, _flags: int = 0) -> int:  # type: ignore[override]
        return super().send(data)


def deaf(channel: socket.socket) -> socket.socket:
    return Deaf(fileno=channel.detach())


@contextmanager
def connected(lab: Lab) -> Iterator[tuple[socket.socket, socket.socket]]:
    client, server = tcp_pair.connect(lab["left"], lab["right"])
    with client, server:
        yield client, server


def is_urgent(packet: Packet) -> bool:
    return packet.tcp is not None and packet.tcp.is_urg


def has_urgent(channel: socket.socket) -> bool:
    """Whether urgent data has come: select's third kind of event."""
    return bool(select.select([], [], [channel], 0)[2])


def urgent(channel: socket.socket) -> bytes:
    """The urgent byte, left where it is; none if there is none, or if it is announced and still to come.

    A socket with a time limit would wait for ordinary data first.
    """
    channel.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    try:
        return channel.recv(1, socket.MSG_OOB | socket.MSG_PEEK)
    except OSError:
        return b""


def at_mark(channel: socket.socket) -> bool:
    (answer,) = unpack("i", ioctl(channel, SIOCATMARK, bytes(4)))
    return bool(answer)


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("3.8")
@pytest.mark.mutant("nothing is urgent to the client", sockets("left", deaf))
def test_of_three_urgent_bytes_the_last_one_is(lab: Lab) -> None:
    """The header has a flag and a pointer behind the urgent byte: it marks a place, and is no second channel.

    So of "abc" sent with MSG_OOB the segment says 3, and a receiver takes "c" alone for urgent, out of the stream; "ab"
    is as ordinary as what came before.
    """
    with connected(lab) as (client, server), lab["right"].capture() as capture:
        client.send(b"123")
        client.send(b"abc", socket.MSG_OOB)
        assert comes_true(lambda: has_urgent(server))
        assert server.recv(10, socket.MSG_OOB) == b"c"
        assert tcp.read_exactly(server, 5) == b"123ab"
    marked = [packet.tcp.urgent_pointer for packet in capture.trace.where(is_urgent, segments.has_data) if packet.tcp]
    assert marked == [3]


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("3.8")
@pytest.mark.mutant("nothing is urgent to the client", sockets("left", deaf))
def test_there_is_one_urgent_byte_at_a_time(lab: Lab) -> None:
    """A second urgent byte takes the first one's place, which is in the stream again: nobody can ask for it now."""
    with connected(lab) as (client, server):
        client.send(b"1")
        client.send(b"a", socket.MSG_OOB)
        assert comes_true(lambda: urgent(server) == b"a")
        client.send(b"2")
        client.send(b"b", socket.MSG_OOB)
        assert comes_true(lambda: urgent(server) == b"b")
        assert server.recv(1, socket.MSG_OOB) == b"b"
        assert server.recv(10) == b"1a2"
        with pytest.raises(OSError, match="Invalid argument"):
            server.recv(1, socket.MSG_OOB)


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("3.8")
@pytest.mark.mutant("nothing is urgent to the client", sockets("left", deaf))
def test_urgent_data_in_line_has_a_mark_in_front(lab: Lab) -> None:
    """With SO_OOBINLINE the byte stays in its place, and a read stops there; SIOCATMARK tells that this is it."""
    with connected(lab) as (client, server):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        client.send(b"123")
        client.send(b"abc", socket.MSG_OOB)
        assert comes_true(lambda: has_urgent(server))
        assert not at_mark(server)
        assert server.recv(10) == b"123ab"
        assert at_mark(server)
        assert server.recv(10) == b"c"
        assert not at_mark(server)


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("3.8")
@pytest.mark.mutant("the kernel follows the standard", sysctl("right", "net.ipv4.tcp_stdurg", 1))
def test_linux_and_the_standard_count_differently(lab: Lab) -> None:
    """RFC 1122 says that the pointer is the urgent byte's own place. Every system takes it for the place behind it.

    RFC 6093 has given in since. Linux still has a knob for it, tcp_stdurg, under which one byte more is taken.
    """
    with connected(lab) as (client, server):
        client.send(b"abc", socket.MSG_OOB)
        client.send(b"d")
        assert comes_true(lambda: has_urgent(server))
        assert server.recv(1, socket.MSG_OOB) == b"c"
