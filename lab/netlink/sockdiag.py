"""The kernel's table of sockets (sock_diag(7)): who listens, without a connection that a server would notice.

It is asked over a socket in the namespace that is meant, which may have been opened there by somebody else.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from lab.errors import NotSupportedError

Protocol = Literal["tcp", "udp"]

NETLINK_SOCK_DIAG = 4

_BY_FAMILY = 20
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2
_ENTRY = struct.Struct("=BBBBHH16s16sI8sIIIII")  # struct inet_diag_msg; the ports are in network order
_ERRNO = struct.Struct("=i")
_RECEIVE = 1 << 16
_ALL_STATES = 0xFFFFFFFF
_NUMBERS: dict[Protocol, int] = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_FAMILIES = (socket.AF_INET, socket.AF_INET6)

# The kernel's TCP states (tcp_states.h), from 1 upwards; an unconnected UDP socket is CLOSE.
_STATES = (
    *("ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT"),
    *("LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV", "BOUND_INACTIVE"),
)

# idiag_timer of sock_diag(7): which timer runs.
_TIMERS = ("", "retransmit", "keepalive", "time-wait", "probe")


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket.

    Attributes:
        state: as `ss` and netstat call it: "LISTEN", "ESTABLISHED", "TIME_WAIT"...
        local: address and port; "0.0.0.0" and "::" are all addresses.
        remote: the same of the other side; port 0 if there is none.
        receive_queue: bytes not read yet; of a listening socket, connections not accepted yet.
        send_queue: bytes not acknowledged yet; of a listening socket, how many connections may wait.
        inode: by which /proc/PID/fd shows it; 0 if it belongs to no process any more.
        timer: the timer that runs: "retransmit" (of a SYN too), "keepalive", "time-wait", "probe" (of a zero window),
            or "" for none.
        expires_ms: how long until it does.
        tries: how often it has run out in a row.
    """

    protocol: Protocol
    state: str
    local: tuple[str, int]
    remote: tuple[str, int]
    receive_queue: int
    send_queue: int
    inode: int
    timer: str = ""
    expires_ms: int = 0
    tries: int = 0

    @property
    def takes_strangers(self) -> bool:
        """Whether anybody may speak to it: it listens, or is an unconnected UDP socket."""
        return self.state == ("LISTEN" if self.protocol == "tcp" else "CLOSE")


def sockets(channel: socket.socket, protocol: Protocol) -> list[Socket]:
    """Return all sockets of a protocol, IPv4 and IPv6, in the network namespace of `channel`.

    Args:
        channel: an AF_NETLINK socket of NETLINK_SOCK_DIAG.

    Raises:
        NotSupportedError: this kernel cannot tell.
    """
    found = []
    for family in _FAMILIES:
        question = _QUESTION.pack(family, _NUMBERS[protocol], 0, _ALL_STATES)
        header = _HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST | _DUMP, 0, 0)
        channel.send(header + question)
        found += [_parsed(body, protocol) for body in _answers(channel, protocol)]
    return found


def _answers(channel: socket.socket, protocol: Protocol) -> Iterator[bytes]:
    while True:
        data = channel.recv(_RECEIVE)
        while data:
            length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data)
            if kind == _DONE:
                return
            body = data[_HEADER.size : length]
            if kind == _ERROR:
                reason = os.strerror(-_ERRNO.unpack_from(body)[0])
                msg = (
                    f"the kernel does not list {protocol} sockets ({reason}); load its module: modprobe {protocol}_diag"
                )
                raise NotSupportedError(msg)
            yield body
            data = data[(length + 3) & ~3 :]


def _parsed(body: bytes, protocol: Protocol) -> Socket:
    entry = _ENTRY.unpack_from(body)
    family, state, timer, tries, source_port, port, source, destination = entry[:8]
    return Socket(
        protocol=protocol,
        state=_STATES[state - 1],
        local=(_address(family, source), socket.ntohs(source_port)),
        remote=(_address(family, destination), socket.ntohs(port)),
        receive_queue=entry[11],
        send_queue=entry[12],
        inode=entry[14],
        timer=_TIMERS[timer],
        expires_ms=entry[10],
        tries=tries,
    )


def _address(family: int, data: bytes) -> str:
    return str(IPv4Address(data[:4]) if family == socket.AF_INET else IPv6Address(data))
