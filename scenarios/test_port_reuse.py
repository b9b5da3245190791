"""Ports that TIME_WAIT keeps, and how to get them back (the book's 3.4.2, 5.11; socket(7), RFC 6191).

Whoever closes a connection first cannot use its port for a minute: a server cannot be started again, a client may run
out of ports.
"""

import errno
import socket
import time
from pathlib import Path

import pytest

from lab.mutants import sysctl
from lab.node import Node
from lab.probes import tcp_pair
from lab.probes.tcp_pair import CLOSED, PORT, await_state
from lab.running import Lab
from lab.wait import wait_until

SERVER_PORT = 8000
BUCKETS = "net.ipv4.tcp_max_tw_buckets"
REUSE = "net.ipv4.tcp_tw_reuse"
REUSE_DELAY = "net.ipv4.tcp_tw_reuse_delay"
TIMESTAMPS = "net.ipv4.tcp_timestamps"
ONE_PORT = {"net.ipv4.ip_local_port_range": f"{PORT} {PORT}"}
HAS_DELAY = Path("/proc/sys", *REUSE_DELAY.split(".")).exists()

left_never_waits = sysctl("left", BUCKETS, 0)
right_never_waits = sysctl("right", BUCKETS, 0)


def bind_error(node: Node, port: int = PORT, *, reuse: bool) -> int:
    """The errno of an attempt to listen on the port; 0 if that works."""
    try:
        tcp_pair.listening(node, port, reuse=reuse).close()
    except OSError as error:
        return error.errno or -1
    return 0


def serve_once(listener: socket.socket, client: Node) -> int:
    """Let a program connect and be the first to close, its port chosen by the kernel; return the errno or 0."""
    with client.socket(socket.AF_INET, socket.SOCK_STREAM) as ours:
        ours.settimeout(5)
        error = ours.connect_ex(listener.getsockname())
        if not error:
            theirs, _address = listener.accept()
            with theirs:
                ours.close()
                assert theirs.recv(1) == b""
    return error


def serve_again(listener: socket.socket, client: Node, patience: float) -> int:
    """Do so as soon as it works, in these seconds; return the errno of the last attempt."""
    errors = [errno.EADDRNOTAVAIL]
    deadline = time.monotonic() + patience

    def is_over() -> bool:
        errors.append(serve_once(listener, client))
        return errors[-1] != errno.EADDRNOTAVAIL or time.monotonic() > deadline

    wait_until(is_over, timeout=2 * patience, what="a port")
    return errors[-1]


@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("the server never waits", left_never_waits)
def test_a_server_started_again_needs_so_reuseaddr_and_so_did_the_one_before(lab: Lab) -> None:
    """A server that closes first finds its own port taken for a minute: EADDRINUSE, although nobody listens there.

    SO_REUSEADDR says that a connection in TIME_WAIT is not in the way. It takes two to agree on that: whoever did not
    set it at the first start cannot make up for it at the second.
    """
    server, client = lab["left"], lab["right"]
    errors = {}
    for port, (before, now) in enumerate([(False, False), (False, True), (True, False), (True, True)], SERVER_PORT):
        with tcp_pair.listening(server, port, reuse=before) as listener:
            ours = client.connect(server.address(), port)
            theirs, _address = listener.accept()
        theirs.close()
        ours.close()
        assert await_state(server, port, "TIME_WAIT") == "TIME_WAIT"
        errors[before, now] = bind_error(server, port, reuse=now)

    taken = errno.EADDRINUSE
    assert errors == {(False, False): taken, (False, True): taken, (True, False): taken, (True, True): 0}


@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts.yaml", sysctls={"left": {**ONE_PORT, REUSE: 0}})
@pytest.mark.mutant("left never waits", left_never_waits)
def test_a_client_without_a_free_port_cannot_connect(lab: Lab) -> None:
    """Every connection that a client closes takes one of its ports out of use for a minute, towards this server only.

    Here there is one port to begin with; a client that opens some 500 connections a second runs out of all 28232.
    """
    left, right = lab["left"], lab["right"]
    with tcp_pair.listening(right, SERVER_PORT) as listener, tcp_pair.listening(right, SERVER_PORT + 1) as another:
        assert serve_once(listener, left) == 0
        assert serve_once(listener, left) == errno.EADDRNOTAVAIL
        assert serve_once(another, left) == 0


@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts.yaml", sysctls={"left": {**ONE_PORT, REUSE: 1}})
@pytest.mark.mutant("left reuses nothing", sysctl("left", REUSE, 0))
@pytest.mark.mutant("today's default is for loopback", sysctl("left", REUSE, 2))
@pytest.mark.mutant("right knows no timestamps", sysctl("right", TIMESTAMPS, 0))
def test_tcp_tw_reuse_lets_a_client_have_its_port_back(lab: Lab) -> None:
    """A second later, by the timestamps, no old segment can be taken for one of the new connection (RFC 6191, 7323 5).

    So the kernel may give the port to a new connection to the same server, if both sides have timestamps. It does so
    for clients only: this is no substitute for SO_REUSEADDR. Today it is on for loopback addresses by default.
    """
    left = lab["left"]
    with tcp_pair.listening(lab["right"], SERVER_PORT) as listener:
        assert serve_once(listener, left) == 0
        assert await_state(left, PORT, "TIME_WAIT") == "TIME_WAIT"
        assert serve_again(listener, left, patience=4) == 0


@pytest.mark.skipif(not HAS_DELAY, reason=f"this kernel has no {REUSE_DELAY}: it waits a second")
@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts.yaml", sysctls={"left": {**ONE_PORT, REUSE: 1, REUSE_DELAY: 1000}})
@pytest.mark.mutant("left waits a millisecond", sysctl("left", REUSE_DELAY, 1))
def test_today_the_second_before_a_port_is_reused_is_a_knob(lab: Lab) -> None:
    """tcp_tw_reuse_delay, in milliseconds (Linux 6.14): timestamps tick every millisecond now, so less is enough."""
    left = lab["left"]
    with tcp_pair.listening(lab["right"], SERVER_PORT) as listener:
        begun = time.monotonic()
        assert serve_once(listener, left) == 0
        assert serve_again(listener, left, patience=4) == 0
        assert time.monotonic() - begun > 0.99


@pytest.mark.book("3.4.2")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("right never waits", right_never_waits)
def test_a_new_syn_ends_the_servers_wait(lab: Lab) -> None:
    """Where the server is the one in TIME_WAIT the same client may come back from the same port at once.

    Its SYN lies beyond all that the old connection has seen, by timestamp and number, and so opens a new one
    (RFC 9293 3.10.7.4, RFC 6191).
    """
    left, right = lab["left"], lab["right"]
    with tcp_pair.listening(right) as listener:
        for state in ("LISTEN", "TIME_WAIT"):
            assert await_state(left, PORT, CLOSED) == CLOSED
            assert await_state(right, PORT, state) == state
            with tcp_pair.bound(left) as client:
                client.settimeout(5)
                assert client.connect_ex(listener.getsockname()) == 0
                server, _address = listener.accept()
                server.close()
                assert client.recv(1) == b""
