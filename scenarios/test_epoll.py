"""epoll(7): told for as long as there is something to do, or once; and who is told, if several threads wait.

left (clients) ── lan ── right (server)
"""

import re
import signal
import socket
from contextlib import ExitStack

import pytest

from lab.mutants import faulty
from lab.probes import proc, tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true, wait_until

PORT = 7
DATA = bytes(range(251)) * 200  # three times what the server reads at a time, and less than the first window


def client(lab: Lab) -> socket.socket:
    return lab["left"].connect(lab["right"].address(), PORT)


def answered(connection: socket.socket, data: bytes, earlier: bytes = b"") -> bytes:
    """What comes back for this and what was sent earlier, as far as it does so within some seconds."""
    connection.sendall(data)
    connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    found = bytearray()

    def has_all() -> bool:
        try:
            found.extend(connection.recv(1 << 16))
        except BlockingIOError:
            return False
        return len(found) >= len(earlier + data)

    comes_true(has_all)
    return bytes(found)


def arrived(lab: Lab) -> int:
    """How many bytes wait at the server to be read."""
    return sum(one.receive_queue for one in lab["right"].sockets() if one.local[1] == PORT and one.state != "LISTEN")


def waiting(lab: Lab) -> int:
    """How many connections wait at the server to be accepted."""
    return sum(one.receive_queue for one in lab["right"].sockets() if one.local[1] == PORT and one.state == "LISTEN")


def counted(process: Process) -> int:
    """How many events of connections it says that it has taken."""
    reports = re.compile(r"^events (\d+)", re.MULTILINE)
    before = len(reports.findall(process.stderr))
    process.signal(signal.SIGUSR1)
    wait_until(lambda: len(reports.findall(process.stderr)) > before, timeout=10, what="the server's report")
    return int(reports.findall(process.stderr)[-1])


def events_for(lab: Lab, *trigger: str) -> int:
    """How many events the server takes to echo data that lies there completely when it looks."""
    with lab["right"].deploy("echo_epoll", *trigger, port=PORT) as server, client(lab) as connection:
        assert answered(connection, b"x") == b"x"
        before = counted(server)
        proc.pause(lab["right"], server)
        connection.sendall(DATA)
        wait_until(lambda: arrived(lab) == len(DATA), timeout=10, what="the data")
        server.signal(signal.SIGCONT)
        assert answered(connection, b"", DATA) == DATA
        return counted(server) - before


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.3.3")
@pytest.mark.mutant("edge-triggered, it reads once per event", faulty("echo_epoll", "LOST_TAIL"))
def test_level_triggered_epoll_tells_again_what_edge_triggered_tells_once(lab: Lab) -> None:
    """Fifty kilobytes lie in a socket, and the server reads sixteen at a time.

    Level-triggered, it is told of them each time it asks until nothing is left. Edge-triggered, it is told when they
    come, and reads on by itself: fewer calls of epoll_wait, and a rest that is lost for who stops too early.
    """
    level = events_for(lab)
    edge = events_for(lab, "--edge")
    assert level >= 4
    assert edge < level


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.3.3")
@pytest.mark.mutant("it accepts once per event", faulty("echo_epoll", "SINGLE_ACCEPT"))
def test_one_edge_of_a_listener_may_stand_for_several_connections(lab: Lab) -> None:
    """Five clients connect before the server looks, and it is told once: who accepts one leaves four in the queue.

    They would stay there until the next one comes, and then one of them would be one behind. accept(2) until EAGAIN.
    """
    with lab["right"].deploy("echo_epoll", "--edge", port=PORT) as server, ExitStack() as connections:
        proc.pause(lab["right"], server)
        clients = [connections.enter_context(client(lab)) for _ in range(5)]
        wait_until(lambda: waiting(lab) == 5, timeout=10, what="five connections in the queue")
        server.signal(signal.SIGCONT)
        assert [answered(one, b"x") for one in clients] == [b"x"] * 5


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.3.4")
@pytest.mark.mutant("it does not arm a connection again", faulty("echo_oneshot", "NO_REARM"))
def test_a_connection_is_reported_once_until_it_is_armed_again(lab: Lab) -> None:
    """EPOLLONESHOT switches a descriptor off with its first event. Who has served it must switch it on again."""
    with lab["right"].deploy("echo_oneshot", port=PORT), client(lab) as connection:
        for word in (b"one", b"two", b"three"):
            assert answered(connection, word) == word


def threads(lab: Lab, server: Process) -> int:
    return len(lab["right"].run("ls", f"/proc/{server.pid}/task").check().stdout.split())


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.3.4")
@pytest.mark.mutant("an event wakes whoever waits", faulty("echo_oneshot", "NO_ONESHOT"))
def test_several_threads_never_serve_one_connection_at_once(lab: Lab) -> None:
    """Eight threads wait for the same connection, and while one of them has read a part more data comes.

    If that woke another thread, both would read and write: parts of the answer would change places. With EPOLLONESHOT
    the second event waits until the first is done with, and no lock is needed.
    """
    with lab["right"].deploy("echo_oneshot", "--workers", "8", port=PORT) as server:
        assert comes_true(lambda: threads(lab, server) >= 9)
        for _ in range(5):
            data = bytes(range(251)) * 20_000
            with client(lab) as connection:
                try:
                    assert tcp.converse(connection, data) == data
                except OSError as error:
                    raise AssertionError(f"the server gave up: {error}") from error
        assert server.exit_code is None
