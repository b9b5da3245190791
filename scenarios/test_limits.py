"""Limits reached and raised: descriptors (the book's 16.1; setrlimit(2)) and buffers (16.2; tcp(7)).

left (clients) ── lan ── right (server)
"""

import socket
from contextlib import ExitStack

import pytest

from lab.mutants import Closeable, sysctl
from lab.probes import tcp
from lab.running import Lab
from lab.wait import comes_true

PORT = 7
CLIENTS = 30
LIMIT = 20
RECEIVE = "net.ipv4.tcp_rmem"
SMALL, LARGE = "4096 16384 16384", "4096 131072 4000000"


def open_descriptors(lab: Lab, process: int) -> int:
    return len(lab["right"].run("ls", f"/proc/{process}/fd").check().stdout.split())


def served(lab: Lab) -> int:
    """How many connections the server has accepted: those that belong to a process."""
    return sum(one.state == "ESTABLISHED" and one.inode != 0 for one in lab["right"].sockets())


def without_limits(lab: Lab) -> Closeable | None:
    """Let prlimit(1) start programs without any limit."""
    lab.backend.write("right", {"/run/prlimit": '#!/bin/sh\nshift\nexec "$@"\n'})
    lab["right"].run("sh", "-c", 'chmod 755 /run/prlimit && mount --bind /run/prlimit "$(command -v prlimit)"').check()
    return None


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("16.1")
@pytest.mark.mutant("there is no limit", without_limits)
def test_a_server_without_descriptors_leaves_clients_waiting_until_it_gets_more(lab: Lab) -> None:
    """Each connection is a descriptor. At the limit accept(2) fails with EMFILE, and who comes waits in the backlog.

    They believe themselves connected. The soft limit of a process that runs can be raised up to its hard limit
    (prlimit(2), `ulimit -n` for those to come); from then on the server takes them, and needs no new start.
    """
    left, right = lab["left"], lab["right"]
    command = ("prlimit", f"--nofile={LIMIT}:1024", lab.program("echo_poll"), "--port", str(PORT))
    with right.start(*command) as server, ExitStack() as stack:
        right.wait_listening(PORT, server)
        own = open_descriptors(lab, server.pid)
        clients = [stack.enter_context(left.connect(right.address(), PORT)) for _ in range(CLIENTS)]
        assert comes_true(lambda: served(lab) == LIMIT - own)
        assert open_descriptors(lab, server.pid) == LIMIT
        (queue,) = [one.receive_queue for one in right.sockets() if one.state == "LISTEN"]
        assert queue == CLIENTS - (LIMIT - own)

        right.run("prlimit", "--pid", str(server.pid), "--nofile=100:1024").check()
        clients[0].close()  # a server may look again only when it has got one back
        assert comes_true(lambda: served(lab) == CLIENTS - 1)
        for client in clients[1:]:
            client.sendall(b"x")
            assert tcp.read_exactly(client, 1) == b"x"


def taken(lab: Lab) -> int:
    """How much a client gets rid of whose server reads nothing."""
    with lab["right"].socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", PORT))
        listener.listen()
        with lab["left"].connect(lab["right"].address(), PORT) as client:
            sent = tcp.send_until_stalled(client, bytes(64 << 20))
            tcp.reset(client)
            return sent


@pytest.mark.topology("two-hosts.yaml", sysctls={"right": {RECEIVE: SMALL}})
@pytest.mark.book("16.2")
@pytest.mark.mutant("the buffer has room from the beginning", sysctl("right", RECEIVE, LARGE))
def test_what_is_kept_for_a_server_that_does_not_read_has_a_limit(lab: Lab) -> None:
    """tcp_rmem: least, at first and at most, in bytes, for each connection; the kernel sizes a buffer in between.

    A client gets rid of as much as both sides' buffers hold, and then waits. Raised, the limit counts for connections
    from then on: a path that has more bytes on the way than a buffer holds can only then be filled.
    """
    before = taken(lab)
    lab["right"].sysctl(RECEIVE, LARGE)
    assert taken(lab) > 3 * before
