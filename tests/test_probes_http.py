"""The HTTP probe sends what it is given, byte by byte, and reads what comes back to its end."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab.errors import ProbeError
from lab.probes import http
from lab.trace.http import MalformedMessageError, Response

GET = http.request("GET", "/", host="www")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextmanager
def answered_by(serve: Callable[[socket.socket], None]) -> Iterator[tuple[socket.socket, tuple[str, int]]]:
    """Give a client's socket, and the address of a server that serves one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:

        def run() -> None:
            with listener.accept()[0] as connection:
                serve(connection)

        server = threading.Thread(target=run)
        server.start()
        yield client, listener.getsockname()
        client.close()
        server.join()


def fetch(serve: Callable[[socket.socket], None], message: bytes = GET, timeout: float = 5.0) -> Response:
    with answered_by(serve) as (client, address):
        return http.fetch(client, address, message, timeout=timeout)


def answering(data: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(data)

    return serve


def test_a_request_to_a_proxy_names_the_host_of_its_target() -> None:
    assert http.request("GET", "http://www.example.test:8080/a?b") == (
        b"GET http://www.example.test:8080/a?b HTTP/1.1\r\nHost: www.example.test:8080\r\n\r\n"
    )


def test_a_request_is_made_of_what_it_is_given() -> None:
    made = http.request("POST", "/form", host="www", headers=(("X-One", "1"), ("x-two", "2")), body=b"a=b")
    assert made == b"POST /form HTTP/1.1\r\nHost: www\r\nX-One: 1\r\nx-two: 2\r\nContent-Length: 3\r\n\r\na=b"
    assert b"Host" not in http.request("GET", "/", host="")


def test_the_server_gets_exactly_the_bytes_and_the_client_its_response() -> None:
    received = bytearray()

    def serve(connection: socket.socket) -> None:
        received.extend(connection.recv(4096))
        connection.sendall(ANSWER)

    response = fetch(serve, b"GET  /odd HTTP/1.1\nno header\n\n")
    assert bytes(received) == b"GET  /odd HTTP/1.1\nno header\n\n"
    assert (response.status, response.body, response.complete) == (200, b"hello", True)


def test_a_connection_serves_one_request_after_the_other() -> None:
    def serve(connection: socket.socket) -> None:
        for _ in range(2):
            connection.recv(4096)
            connection.sendall(ANSWER)

    with answered_by(serve) as (client, address):
        first = http.fetch(client, address, GET)
        assert http.exchange(client, GET) == first


@pytest.mark.parametrize("message", [b"\r\n\r\n", b"\xff GET\r\n\r\n"])
def test_a_request_that_is_none_gets_its_response_too(message: bytes) -> None:
    assert fetch(answering(ANSWER), message).status == 200


def test_a_response_in_pieces_is_put_together() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(ANSWER)):
            connection.sendall(ANSWER[index : index + 1])

    assert fetch(serve).body == b"hello"


def test_a_body_of_unsaid_length_ends_with_the_connection() -> None:
    assert fetch(answering(b"HTTP/1.0 200 OK\r\n\r\nall")).body == b"all"


def test_the_response_to_head_ends_with_its_head() -> None:
    assert fetch(answering(ANSWER[:-5]), http.request("HEAD", "/", host="www")).status == 200


def test_a_connection_closed_too_early_is_an_error_that_shows_what_came() -> None:
    with pytest.raises(ProbeError, match=r"the connection was closed; received b'HTTP/1.1 200.*hell', 42 bytes"):
        fetch(answering(ANSWER[:-1]))
    with pytest.raises(ProbeError, match=r"the connection was closed; received b'', 0 bytes"):
        fetch(answering(b""))


def test_a_reset_is_an_error_that_says_so() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with pytest.raises(ProbeError, match="Connection reset by peer"):
        fetch(serve)


def test_a_server_that_says_nothing_is_waited_for_only_so_long() -> None:
    def serve(connection: socket.socket) -> None:
        while connection.recv(4096):
            pass

    with pytest.raises(ProbeError, match="timed out"):
        fetch(serve, timeout=0.05)


def test_a_response_without_end_is_waited_for_only_so_long() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                connection.sendall(b"more")

    with pytest.raises(ProbeError, match=r"timed out; received b'HTTP/1\.1 200 OK"):
        fetch(serve, timeout=0.05)


def test_what_is_not_http_is_an_error() -> None:
    with pytest.raises(MalformedMessageError, match=r"not HTTP .*SSH-2"):
        fetch(answering(b"SSH-2.0-OpenSSH\r\n\r\n"))


def test_a_refused_connection_names_its_destination() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with socket.socket() as client, pytest.raises(ProbeError, match=rf"127.0.0.1 port {address[1]}: .*refused"):
        http.fetch(client, address, GET)
