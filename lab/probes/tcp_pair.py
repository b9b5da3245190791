"""Both ends of a TCP connection in the hands of a test, and the states of the book's diagram (3.4.1) they are in.

client, server = tcp_pair.connect(lab["left"], lab["right"])
client.close()
assert tcp_pair.await_state(lab["left"], tcp_pair.PORT, "FIN_WAIT2") == "FIN_WAIT2"
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Protocol

from lab.errors import WaitTimeoutError
from lab.netlink import sockdiag
from lab.wait import wait_until

PORT = 7000
CLOSED = "CLOSED"


class Host(Protocol):
    """What is needed of a node."""

    def address(self) -> str:
        """Return its address."""

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Return a socket of its own."""

    def sockets(self) -> Sequence[sockdiag.Socket]:
        """Return its table of TCP sockets."""


def bound(host: Host, port: int = PORT, *, reuse: bool = False) -> socket.socket:
    """Return a TCP socket that has this port.

    Args:
        reuse: set SO_REUSEADDR.

    Raises:
        OSError: the port is not free.
    """
    made = host.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        made.bind((host.address(), port))
    except BaseException:
        made.close()
        raise
    return made


def listening(host: Host, port: int = PORT, *, reuse: bool = False) -> socket.socket:
    """Return a TCP socket that listens on this port; see `bound`."""
    listener = bound(host, port, reuse=reuse)
    listener.listen()
    return listener


def connect(client: Host, server: Host, port: int = PORT, timeout: float = 5.0) -> tuple[socket.socket, socket.socket]:
    """Return the ends of a new connection, the client's and the server's; both have the same port number.

    Nothing listens there any more afterwards.

    Args:
        timeout: seconds, for each call on the two from then on.

    Raises:
        OSError: the connection cannot be made.
    """
    with listening(server, port) as listener, contextlib.ExitStack() as on_failure:
        ours = on_failure.enter_context(bound(client, port))
        for waiting in (ours, listener):
            waiting.settimeout(timeout)
        ours.connect(listener.getsockname())
        theirs, _address = listener.accept()
        theirs.settimeout(timeout)
        on_failure.pop_all()
        return ours, theirs


def entry(host: Host, port: int = PORT) -> sockdiag.Socket | None:
    """Return the socket table's entry of the connection that has this port on the host.

    It is that of the socket that listens there only if there is no connection: the diagram of a passive open has
    one box for both.
    """
    found = [one for one in host.sockets() if one.local[1] == port]
    return min(found, key=lambda one: one.state == "LISTEN", default=None)


def state(host: Host, port: int = PORT) -> str:
    """Return the state of the connection that has this port on the host; "CLOSED" if there is none."""
    found = entry(host, port)
    return CLOSED if found is None else found.state


def await_state(host: Host, port: int, wanted: str, timeout: float = 5.0) -> str:
    """Return `wanted` as soon as that is the state, and the state that there is instead when the time is up.

    Args:
        timeout: seconds.
    """
    seen = CLOSED

    def is_reached() -> bool:
        nonlocal seen
        seen = state(host, port)
        return seen == wanted

    with contextlib.suppress(WaitTimeoutError):  # the caller gets to know what there is instead
        wait_until(is_reached, timeout=timeout, what=wanted)
    return seen
