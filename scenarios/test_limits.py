"""Limits reached and raised: descriptors (the book's 7.4 and 16.1; setrlimit(2)) and buffers (16.2; tcp(7)).

left (clients) ── lan ── right (server)
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from lab.mutants import Closeable, sysctl
from lab.probes import tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true

PORT = 7
CLIENTS = 30
LIMIT = 20
RECEIVE, SEND = "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"
SMALL, LARGE = "4096 16384 16384", "4096 131072 4000000"
GROWING = "4096 16384 4000000"  # as small at first

FILES = 4000
OPENED, COPIED = "os.open(os.devnull, os.O_RDONLY)", "os.dup(0)"
OPENER = f"import os, signal; [{OPENED} for _ in range({FILES})]; print('opened', flush=True); signal.pause()"


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
@pytest.mark.book("7.4")
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


def open_files(lab: Lab) -> int:
    """How many files are open on the whole machine: the first figure of file-nr (proc_sys_fs(5))."""
    return int(lab["right"].run("cat", "/proc/sys/fs/file-nr").check().stdout.split()[0])


def more_files(lab: Lab, program: str) -> int:
    """How many more there are while a program has FILES descriptors more."""
    before = open_files(lab)
    with lab["right"].start("prlimit", "--nofile=4096:4096", sys.executable, "-c", program) as opener:
        assert comes_true(lambda: "opened" in opener.stdout, timeout=10)
        return open_files(lab) - before


def copying(lab: Lab) -> Closeable | None:
    """Let programs copy a descriptor where they would open a file."""
    start = lab["right"].start

    def start_copying(*arguments: str) -> Process:
        return start(*(argument.replace(OPENED, COPIED) for argument in arguments))

    lab["right"].start = start_copying  # type: ignore[method-assign, assignment]
    return None


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("16.1")
@pytest.mark.mutant("descriptors are copied instead", copying)
def test_what_is_open_anywhere_counts_for_the_machines_limit(lab: Lab) -> None:
    """fs.file-max is the second limit, for all programs together. There is one of it: a namespace has none of its own.

    So nobody reaches it here, where it would be reached for everybody: no program but root's could open anything any
    more (ENFILE). The book raises it. Today's kernels allow as many files as take a tenth of the memory, a hundred
    thousand for each gigabyte, and a process meets its own limit long before. Counted are open files: copies of a
    descriptor (dup(2), fork(2)) are of one and the same, though each counts for the limit of its process.

    Others open and close files meanwhile, so it is tried until they do not hide what is to be seen.
    """
    assert comes_true(lambda: FILES * 0.8 < more_files(lab, OPENER) < FILES * 1.2, timeout=10)
    assert comes_true(lambda: abs(more_files(lab, OPENER.replace(OPENED, COPIED))) < FILES * 0.2, timeout=10)
    most = int(lab["right"].run("cat", "/proc/sys/fs/file-max").check().stdout)
    assert open_files(lab) + FILES < most


@contextmanager
def stalled(lab: Lab) -> Iterator[int]:
    """A client whose server reads nothing, and that can get rid of no more; how much it has got rid of."""
    with lab["right"].socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", PORT))
        listener.listen()
        with lab["left"].connect(lab["right"].address(), PORT) as client:
            yield tcp.send_until_stalled(client, bytes(64 << 20))
            tcp.reset(client)


def taken(lab: Lab) -> int:
    """How much a client gets rid of whose server reads nothing."""
    with stalled(lab) as sent:
        return sent


def kept(lab: Lab) -> int:
    """How much of that is still on the client's side."""
    with stalled(lab):
        return next(one.send_queue for one in lab["left"].sockets() if one.remote[1] == PORT)


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


@pytest.mark.topology("two-hosts.yaml", sysctls={"left": {SEND: SMALL}})
@pytest.mark.book("16.2")
@pytest.mark.mutant("the buffer may grow from the beginning", sysctl("left", SEND, GROWING))
def test_what_is_kept_for_a_peer_that_takes_nothing_has_a_limit(lab: Lab) -> None:
    """tcp_wmem: the same three figures for what a program has sent, and nobody has acknowledged.

    send(2) takes so much and then blocks, or fails with EAGAIN. That it took something only means that there was room
    for it. From the first size up to the largest the kernel gives as much as the congestion window asks for. (It looks
    whether there is room before it takes a block, so the last one may stand out.)
    """
    before = kept(lab)
    lab["left"].sysctl(SEND, GROWING)
    assert kept(lab) > 3 * before
