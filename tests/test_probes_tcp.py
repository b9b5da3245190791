"""The TCP clients of tests, against sockets of this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from lab.probes import tcp
from lab.probes.tcpinfo import tcp_info

DATA = bytes(range(256)) * 4096


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection over loopback: the client's socket and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


def echo(connection: socket.socket) -> None:
    while piece := connection.recv(1000):
        connection.sendall(piece)
    connection.shutdown(socket.SHUT_WR)


def test_a_conversation_reads_while_it_sends_and_ends_when_both_have(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    thread = threading.Thread(target=echo, args=(server,))
    thread.start()
    assert tcp.converse(client, DATA) == DATA
    thread.join()


def test_a_conversation_of_nothing_ends_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    server.sendall(b"hello")
    server.shutdown(socket.SHUT_WR)
    assert tcp.converse(client, b"") == b"hello"
    assert server.recv(1) == b""


def test_a_conversation_that_does_not_move_says_how_far_it_came(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    server.sendall(b"abc")
    with pytest.raises(TimeoutError, match=r"nothing moved for 0.05 s: 2 of 2 bytes sent, 3 received"):
        tcp.converse(client, b"hi", timeout=0.05)


def test_sending_stops_where_nobody_reads(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    data = DATA * 64
    sent = tcp.send_until_stalled(client, data)
    assert 0 < sent < len(data)
    client.shutdown(socket.SHUT_WR)
    assert tcp.read_to_end(server) == data[:sent]


def test_what_is_read_exactly_leaves_the_rest(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    client.sendall(b"abcdef")
    client.shutdown(socket.SHUT_WR)
    assert [tcp.read_exactly(server, count) for count in (4, 1, 9)] == [b"abcd", b"e", b"f"]


def test_a_reset_is_one(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    tcp.reset(client)
    with pytest.raises(ConnectionResetError):
        tcp.read_to_end(server)


def test_the_kernel_tells_of_a_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    before = tcp_info(client)
    assert (before.state, before.congestion, before.cwnd, before.unacked) == ("ESTABLISHED", "open", 10, 0)
    assert before.ssthresh == 0x7FFFFFFF
    assert before.snd_mss <= before.advmss <= before.pmtu
    client.sendall(DATA[:10_000])
    assert tcp.read_exactly(server, 10_000) == DATA[:10_000]
    assert tcp_info(client).rtt > 0
    server.close()
    assert tcp.read_to_end(client) == b""
    assert tcp_info(client).state == "CLOSE_WAIT"
