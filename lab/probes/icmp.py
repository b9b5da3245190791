"""ICMP echo (RFC 792) and ICMPv6 echo (RFC 4443) over a raw socket of a node."""

from __future__ import annotations

import os
import socket
import struct
import time
from dataclasses import dataclass

from lab.errors import ProbeError
from lab.probes.checksum import internet_checksum

_ECHO = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
_REQUEST, _REPLY = 8, 0
_REQUEST6, _REPLY6 = 128, 129
_ICMPV6 = 58


@dataclass(frozen=True, slots=True)
class Echo:
    """One request.

    Attributes:
        round_trip: seconds, or None if no reply came in time.
    """

    sequence: int
    round_trip: float | None


@dataclass(frozen=True, slots=True)
class Pings:
    """All that one `ping` sent."""

    destination: str
    echoes: tuple[Echo, ...]

    @property
    def received(self) -> int:
        """How many were answered."""
        return sum(echo.round_trip is not None for echo in self.echoes)


def open_socket_arguments(destination: str) -> tuple[int, int, int]:
    """Return family, kind and protocol of the socket that `ping` needs for this destination."""
    if ":" in destination:
        return socket.AF_INET6, socket.SOCK_RAW, _ICMPV6
    return socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP


def ping(channel: socket.socket, destination: str, *, count: int, interval: float, size: int, timeout: float) -> Pings:
    """Send echo requests, each once the one before is answered or its time is up.

    Args:
        channel: a raw socket as `open_socket_arguments` says.
        interval: seconds from one request to the next at the least; 0 sends on each reply.
        size: bytes of payload.
        timeout: seconds to wait for each reply, if that is longer than the interval.

    Raises:
        ProbeError: the node cannot send there.
    """
    identifier = int.from_bytes(os.urandom(2))
    echoes = []
    for sequence in range(1, count + 1):
        sent = time.monotonic()
        _send(channel, destination, identifier, sequence, size)
        answered = _await_reply(channel, identifier, sequence, sent + max(timeout, interval))
        echoes.append(Echo(sequence, None if answered is None else answered - sent))
        if sequence < count and answered is not None:
            _await_reply(channel, identifier, count + 1, sent + interval)  # none comes: it waits the interval out
    return Pings(destination, tuple(echoes))


def _send(channel: socket.socket, destination: str, identifier: int, sequence: int, size: int) -> None:
    kind = _REQUEST6 if channel.family == socket.AF_INET6 else _REQUEST
    payload = bytes(number & 0xFF for number in range(size))
    draft = _ECHO.pack(kind, 0, 0, identifier, sequence) + payload
    # The kernel fills in ICMPv6's checksum itself, as it covers addresses that it chooses.
    checksum = 0 if channel.family == socket.AF_INET6 else internet_checksum(draft)
    try:
        channel.sendto(_ECHO.pack(kind, 0, checksum, identifier, sequence) + payload, (destination, 0))
    except OSError as error:
        msg = f"cannot send an echo request to {destination}: {error.strerror}"
        raise ProbeError(msg) from error


def _await_reply(channel: socket.socket, identifier: int, sequence: int, deadline: float) -> float | None:
    """Return when the reply came, or None."""
    wanted = (_REPLY6 if channel.family == socket.AF_INET6 else _REPLY, identifier, sequence)
    while (left := deadline - time.monotonic()) > 0:
        channel.settimeout(left)
        try:
            message = channel.recv(65536)
        except TimeoutError:
            return None
        except OSError:  # an ICMP error for an earlier request (host unreachable, say): not a reply
            continue
        if channel.family == socket.AF_INET:
            message = message[(message[0] & 0xF) * 4 :]  # a raw IPv4 socket gives the IP header too
        if len(message) >= _ECHO.size:
            kind, _code, _checksum_field, found_identifier, found_sequence = _ECHO.unpack_from(message)
            if (kind, found_identifier, found_sequence) == wanted:
                return time.monotonic()
    return None
