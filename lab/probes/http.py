"""HTTP/1.1 over a socket of a node (RFC 9112): sends exactly the bytes it is given, and reads what comes back.

with lab["client"].socket(socket.AF_INET, socket.SOCK_STREAM) as channel:
    response = http.fetch(channel, ("10.0.1.3", 3128), http.request("GET", "http://www.example.test/"))
"""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from lab.errors import ProbeError
from lab.trace.http import Headers, Response, ResponseReader

_CHUNK = 65536
_SHOWN = 200  # bytes


def request(method: str, target: str, *, host: str | None = None, headers: Headers = (), body: bytes = b"") -> bytes:
    """Return a request's bytes.

    Args:
        target: as it is to be sent: "/index.html" to a server, "http://www.example.test/index.html" to a proxy.
        host: the Host header; None takes it from the target, "" sends none.
        headers: behind Host, in this order; Content-Length is added where there is a body.
    """
    name = urlsplit(target).netloc if host is None else host
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"Host: {name}"] if name or host is None else []
    lines += [f"{header}: {value}" for header, value in headers]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def fetch(channel: socket.socket, destination: tuple[str, int], message: bytes, *, timeout: float = 5.0) -> Response:
    """Connect, send a request and return the response; see `exchange`.

    Args:
        channel: a TCP socket that is not connected.
        destination: an address, not a name: names are the node's own matter.
        timeout: seconds, for connecting and for the response each.

    Raises:
        ProbeError: no connection, or as `exchange`.
    """
    channel.settimeout(timeout)
    try:
        channel.connect(destination)
    except OSError as error:
        msg = f"cannot connect to {destination[0]} port {destination[1]}: {error.strerror or error}"
        raise ProbeError(msg) from error
    return exchange(channel, message, timeout=timeout)


def exchange(channel: socket.socket, message: bytes, *, timeout: float = 5.0) -> Response:
    """Send one request over a connection and return its response, once it has come to its end.

    Args:
        timeout: seconds.

    Raises:
        ProbeError: no whole response came; says what came instead.
        MalformedMessageError: what came is not HTTP.
    """
    reader = ResponseReader(message.split(b" ", 1)[0].decode("latin-1"))
    received = bytearray()
    try:
        channel.settimeout(timeout)
        channel.sendall(message)
        _receive(channel, reader, received, time.monotonic() + timeout)
    except OSError as error:
        raise _no_response(error.strerror or str(error), received) from error
    if reader.response is None or not reader.complete:
        raise _no_response("the connection was closed", received)
    return reader.response


def _receive(channel: socket.socket, reader: ResponseReader, received: bytearray, deadline: float) -> None:
    """Read until the response is complete or the stream ends."""
    while not reader.complete:
        left = deadline - time.monotonic()
        if left <= 0:  # as it may be although something comes all the time
            raise TimeoutError("timed out")
        channel.settimeout(left)
        piece = channel.recv(_CHUNK)
        if not piece:
            reader.end()
            return
        received += piece
        reader.feed(piece)


def _no_response(why: str, received: bytearray) -> ProbeError:
    return ProbeError(f"no whole response: {why}; received {bytes(received[:_SHOWN])!r}, {len(received)} bytes in all")
