"""When a socket is worth looking at, and how long close(2) takes (the book's 5.11.3 and 5.11.4; socket(7)).

left (client) ── lan ── right (server)
"""

import errno
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.checks import tcp as segments
from lab.mutants import Closeable, drop, sysctl
from lab.netlink.sockdiag import Socket
from lab.probes import tcp
from lab.running import Lab
from lab.wait import comes_true

PORT = 80


@contextmanager
def connected(lab: Lab) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection."""
    with lab["right"].socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", PORT))
        listener.listen()
        client = lab["left"].connect(lab["right"].address(), PORT)
        server, _ = listener.accept()
    with client, server:
        yield client, server


def waiting(lab: Lab) -> int:
    """How many bytes the server has not read."""
    return sum(one.receive_queue for one in lab["right"].sockets() if one.local[1] == PORT)


def orphans(lab: Lab) -> list[Socket]:
    """What the client's kernel still has of its connections, once the client has closed them."""
    return [one for one in lab["left"].sockets() if one.remote[1] == PORT]


def readable(channel: socket.socket) -> bool:
    return bool(select.select([channel], [], [], 0)[0])


def linger(channel: socket.socket, seconds: int) -> None:
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("5.11.3")
@pytest.mark.mutant("there is no room for so much", sysctl("right", "net.ipv4.tcp_rmem", "4096 4096 16"))
def test_a_socket_is_readable_when_as_much_is_there_as_was_asked_for(lab: Lab) -> None:
    """SO_RCVLOWAT is one byte by itself. With ten, select and poll are silent about nine, which a read would return.

    An end or an error is told at once, however little there is. (The kernel makes room for what is asked for, and asks
    for no more than half of the largest buffer, tcp_rmem.)
    """
    with connected(lab) as (client, server):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 10)
        client.sendall(b"nine byte")
        assert comes_true(lambda: waiting(lab) == 9)
        assert not readable(server)
        client.sendall(b"!")
        assert comes_true(lambda: readable(server))
        assert server.recv(100) == b"nine byte!"

        client.shutdown(socket.SHUT_WR)
        assert comes_true(lambda: readable(server))


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("5.11.3")
@pytest.mark.mutant("nothing arrives", drop("right", "prerouting", "tcp dport 80 tcp flags psh"))
def test_how_much_room_makes_a_socket_writable_cannot_be_said(lab: Lab) -> None:
    """SO_SNDLOWAT is one byte, and Linux refuses to have it set; it decides by itself when a socket is writable."""
    with connected(lab) as (client, _server):
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDLOWAT) == 1
        with pytest.raises(OSError, match="not available") as refused:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDLOWAT, 10)
        assert refused.value.errno == errno.ENOPROTOOPT
        client.sendall(b"hello")
        assert comes_true(lambda: waiting(lab) == 5)


def in_a_hurry(lab: Lab) -> None:
    """Let close(2) of the client's socket reset the connection."""
    connect = lab["left"].connect

    def connect_in_a_hurry(address: str, port: int) -> socket.socket:
        client = connect(address, port)
        linger(client, 0)
        return client

    lab["left"].connect = connect_in_a_hurry  # type: ignore[method-assign, assignment]


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("5.11.4")
@pytest.mark.mutant("it was told not to linger", in_a_hurry)
def test_close_returns_at_once_and_the_kernel_sends_the_rest(lab: Lab) -> None:
    """By itself close(2) waits for nothing: what stands in the send buffer goes out behind it, and the FIN at its end.

    The server has read nothing yet, so most of it is still at the client, whose socket nobody has any more.
    """
    data = bytes(range(256)) * 4096
    with connected(lab) as (client, server):
        sent = tcp.send_until_stalled(client, data * 16)
        client.close()
        assert [(one.state, one.inode, one.send_queue > 0) for one in orphans(lab)] == [("FIN_WAIT1", 0, True)]
        received = 0
        while received < sent:
            received += len(tcp.read_exactly(server, sent - received))
        assert comes_true(
            lambda: [one.state for one in lab["left"].sockets() if one.remote[1] == PORT] == ["FIN_WAIT2"]
        )
        assert server.recv(1) == b""


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("5.11.4")
@pytest.mark.mutant("the reset is lost", drop("right", "prerouting", "tcp flags rst"))
def test_with_no_time_to_linger_close_throws_everything_away(lab: Lab) -> None:
    """With l_linger 0 what was not sent is dropped, and a reset goes out instead of a FIN. Nothing stays, no TIME_WAIT.

    The server can read what has arrived already, and then hears "connection reset" instead of an end. So a server that
    closes like this truncates its own answers.
    """
    with connected(lab) as (client, server), lab["right"].capture() as capture:
        sent = tcp.send_until_stalled(client, bytes(16 << 20))
        linger(client, 0)
        client.close()
        assert orphans(lab) == []
        assert comes_true(lambda: not [one for one in lab["right"].sockets() if one.local[1] == PORT])
        assert len(server.recv(sent)) < sent
        with pytest.raises(ConnectionResetError):
            tcp.read_to_end(server)
    assert capture.trace.where(segments.is_reset)
    assert not capture.trace.where(segments.is_fin)


def repair_the_cable(lab: Lab) -> Closeable | None:
    """Let no cut be of any effect."""
    lab.cut = lambda *_targets, **_options: None  # type: ignore[method-assign]
    return None


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("5.11.4")
@pytest.mark.mutant("the cable is whole", repair_the_cable)
def test_with_time_to_linger_close_waits_for_the_last_acknowledgment(lab: Lab) -> None:
    """close(2) returns when the peer has acknowledged everything, the FIN too, or when the time is over.

    Only the time tells one from the other: the result is the same, and the kernel goes on trying behind it.
    """
    with connected(lab) as (client, _server):
        linger(client, 1)
        lab.cut("left")
        client.setblocking(True)  # noqa: FBT003 - the socket module's own signature; one that never waits does not linger
        client.sendall(b"is anybody there?")
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began >= 1
        assert [one.state for one in orphans(lab)] == ["FIN_WAIT1"]
