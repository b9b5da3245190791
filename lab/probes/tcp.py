"""A TCP client made of an ordinary socket: polite, late, or rude."""

from __future__ import annotations

import select
import socket
import struct

_PIECE = 1 << 16
_PATIENCE = 0.2  # seconds without progress, after which a sender is taken to be stopped by its peer


def read_to_end(connection: socket.socket, timeout: float = 10.0) -> bytes:
    """Return all that comes until the peer's FIN.

    Args:
        timeout: seconds that may pass without anything.

    Raises:
        ConnectionResetError: it ends with a reset.
        TimeoutError: nothing came for too long.
    """
    connection.settimeout(timeout)
    return b"".join(iter(lambda: connection.recv(_PIECE), b""))


def read_to_any_end(connection: socket.socket, timeout: float = 5.0) -> bytes:
    """Return all that comes until a FIN, a reset or silence of `timeout` seconds; the latter two add a note to it."""
    connection.settimeout(timeout)
    found = bytearray()
    try:
        while piece := connection.recv(_PIECE):
            found += piece
    except (ConnectionResetError, TimeoutError):
        found += b" [and no end]"
    return bytes(found)


def read_exactly(connection: socket.socket, count: int, timeout: float = 10.0) -> bytes:
    """Return the next `count` bytes, fewer only if the stream ends before.

    Raises:
        TimeoutError: nothing came for `timeout` seconds.
    """
    connection.settimeout(timeout)
    found = b""
    while len(found) < count and (piece := connection.recv(count - len(found))):
        found += piece
    return found


def send_until_stalled(connection: socket.socket, data: bytes) -> int:
    """Send without reading, until all is sent or the peer's window and all buffers on the way are full.

    Returns:
        how many bytes were sent.
    """
    connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    sent = 0
    while sent < len(data) and select.select([], [connection], [], _PATIENCE)[1]:
        sent += connection.send(data[sent : sent + _PIECE])
    return sent


def converse(connection: socket.socket, data: bytes, timeout: float = 10.0) -> bytes:
    """Send and read at the same time, end the sending side when all is sent, and return what came to its end.

    Raises:
        ConnectionResetError, BrokenPipeError: the peer gave up.
        TimeoutError: nothing moved for `timeout` seconds.
    """
    connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    sent, found = 0, bytearray()
    if not data:
        connection.shutdown(socket.SHUT_WR)
    while True:
        readable, writable, _ = select.select([connection], [connection] if sent < len(data) else [], [], timeout)
        if not readable and not writable:
            msg = f"nothing moved for {timeout:g} s: {sent} of {len(data)} bytes sent, {len(found)} received"
            raise TimeoutError(msg)
        if writable:
            sent += connection.send(data[sent : sent + _PIECE])
            if sent == len(data):
                connection.shutdown(socket.SHUT_WR)
        if readable:
            piece = connection.recv(_PIECE)
            if not piece:
                return bytes(found)
            found += piece


def reset(connection: socket.socket) -> None:
    """Close a connection with a reset (SO_LINGER of 0 seconds, socket(7); book 5.11.4)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
