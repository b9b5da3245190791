"""The backlog of a listening socket (the book's 5.4 and 16.2; listen(2)).

left (clients) ── lan ── right (a server that accepts nothing)
"""

import errno
import select
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from lab.mutants import drop, sysctl
from lab.node import Node
from lab.running import Lab
from lab.wait import comes_true

PORT = 80
BACKLOG = 3
CLIENTS = 8
SOMAXCONN = "net.core.somaxconn"
ABORT = "net.ipv4.tcp_abort_on_overflow"
SYNCOOKIES = "net.ipv4.tcp_syncookies"


@contextmanager
def listening(node: Node, backlog: int) -> Iterator[socket.socket]:
    with node.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("", PORT))
        listener.listen(backlog)
        yield listener


@contextmanager
def knocking(lab: Lab, count: int) -> Iterator[list[socket.socket]]:
    """So many clients that have asked for a connection, and do not wait for it."""
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(lab["left"].socket(socket.AF_INET, socket.SOCK_STREAM))
            client.setblocking(False)  # noqa: FBT003 - the socket module's own signature
            assert client.connect_ex((lab["right"].address(), PORT)) == errno.EINPROGRESS
            clients.append(client)
        yield clients


def states(node: Node) -> Counter[str]:
    """How many of the node's connections are in which state."""
    return Counter(one.state for one in node.sockets() if PORT in (one.local[1], one.remote[1]))


def settled(lab: Lab) -> bool:
    """Whether every SYN has been sent, and answered if it will be: the rest wait for their second try."""
    return all(one.state != "SYN_SENT" or one.tries > 0 for one in lab["left"].sockets())


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("5.4")
@pytest.mark.mutant("the kernel allows fewer", sysctl("right", SOMAXCONN, BACKLOG - 1))
def test_one_connection_more_than_the_backlog_is_established(lab: Lab) -> None:
    """listen(3) lets four connections wait to be accepted: the queue is full when it is longer than the backlog.

    The book saw the others in SYN_RECV at the server. Today's kernel drops their SYN at once, so the server knows
    nothing of them and the clients stay in SYN_SENT, to try again a second later. Only a counter tells.
    """
    left, right = lab["left"], lab["right"]
    before = right.counters()
    with listening(right, BACKLOG), knocking(lab, CLIENTS):
        assert comes_true(lambda: settled(lab))
        assert states(left) == {"ESTABLISHED": BACKLOG + 1, "SYN_SENT": CLIENTS - BACKLOG - 1}
        assert states(right) == {"ESTABLISHED": BACKLOG + 1, "LISTEN": 1}
        (queue,) = [one for one in right.sockets() if one.state == "LISTEN"]
        assert (queue.receive_queue, queue.send_queue) == (BACKLOG + 1, BACKLOG)
        after = right.counters()
        assert after["TcpExtListenOverflows"] - before["TcpExtListenOverflows"] >= CLIENTS - BACKLOG - 1


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("5.4")
@pytest.mark.mutant("only first SYNs arrive", drop("right", "prerouting", "tcp flags syn quota over 150 bytes"))
def test_who_is_accepted_makes_room_for_one_that_waits(lab: Lab) -> None:
    """A client outside notices nothing but the time: its next SYN finds room. A burst costs time, not connections."""
    left, right = lab["left"], lab["right"]
    with listening(right, 0) as listener, knocking(lab, 2):
        assert comes_true(lambda: settled(lab))
        assert states(left) == {"ESTABLISHED": 1, "SYN_SENT": 1}
        with listener.accept()[0]:
            assert comes_true(lambda: states(left) == {"ESTABLISHED": 2})


@pytest.mark.topology("two-hosts.yaml", sysctls={"right": {SOMAXCONN: BACKLOG}})
@pytest.mark.book("5.4")
@pytest.mark.book("16.2")
@pytest.mark.mutant("the kernel allows more", sysctl("right", SOMAXCONN, 4096))
def test_somaxconn_is_the_longest_backlog(lab: Lab) -> None:
    """Whatever listen(2) asks for, the queue is no longer than net.core.somaxconn, and nobody is told.

    Once it is raised, the next listen(2) gets more; a queue that stands keeps its length.
    """
    right = lab["right"]

    def length() -> int:
        (queue,) = [one for one in right.sockets() if one.state == "LISTEN"]
        return queue.send_queue

    with listening(right, 1000) as listener:
        assert length() == BACKLOG
        right.sysctl(SOMAXCONN, 2000)
        assert length() == BACKLOG
        listener.listen(1000)
        assert length() == 1000


@contextmanager
def without_acks(node: Node) -> Iterator[None]:
    """Let the last segment of every handshake with the node be lost: what it has begun stays half open."""
    rule = "tcp flags & (syn|ack) == ack drop"
    chain = "chain ip lossy c { type filter hook prerouting priority 0; }"
    node.run("nft", f"add table ip lossy; add {chain}; add rule ip lossy c {rule}").check()
    try:
        yield
    finally:
        node.run("nft", "delete table ip lossy").check()


@pytest.mark.topology("two-hosts.yaml", sysctls={"right": {ABORT: 1}})
@pytest.mark.book("5.4")
@pytest.mark.mutant("it is patient", sysctl("right", ABORT, 0))
def test_who_finds_the_queue_full_at_the_last_step_may_be_refused(lab: Lab) -> None:
    """Two clients are half-way in when the server shortens its queue; there is room for the first of them only.

    By itself the kernel ignores the last ACK of the other, and waits for it to come again. With tcp_abort_on_overflow
    it answers with a reset, so that a client that believes itself connected learns better.
    """
    left, right = lab["left"], lab["right"]
    with listening(right, BACKLOG) as listener, without_acks(right), knocking(lab, 2) as clients:
        assert comes_true(lambda: states(left) == {"ESTABLISHED": 2})
        assert states(right) == {"SYN_RECV": 2, "LISTEN": 1}
        listener.listen(0)
        right.run("nft", "flush chain ip lossy c").check()
        first, second = clients
        first.send(b"hello")
        assert comes_true(lambda: states(right)["ESTABLISHED"] == 1)
        second.send(b"hello")
        assert comes_true(lambda: second.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET)


@pytest.mark.topology("two-hosts.yaml", sysctls={"right": {SYNCOOKIES: 0}})
@pytest.mark.book("5.4")
@pytest.mark.mutant("the server answers with cookies", sysctl("right", SYNCOOKIES, 1))
def test_half_open_connections_have_as_much_room_as_those_that_wait(lab: Lab) -> None:
    """Who sends SYNs and no more fills the queue of half-open connections, and nobody else gets in: a SYN flood.

    The queue has as much room as the backlog says (6.1), or one more, as the other queue has always had (6.18).
    """
    left, right = lab["left"], lab["right"]
    with listening(right, BACKLOG), without_acks(right), knocking(lab, CLIENTS):
        assert comes_true(lambda: settled(lab))
        room = states(right)["SYN_RECV"]
        assert room in {BACKLOG, BACKLOG + 1}
        assert states(left) == {"ESTABLISHED": room, "SYN_SENT": CLIENTS - room}


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("16.2")
@pytest.mark.mutant("the server knows no cookies", sysctl("right", SYNCOOKIES, 0))
def test_a_server_under_a_flood_remembers_nothing_and_lets_the_honest_in(lab: Lab) -> None:
    """With tcp_syncookies a server whose queue is full puts what it would have to remember into its sequence number.

    So it answers every SYN and keeps nothing. Whoever sends the last ACK brings it back, plus one, and is connected; a
    forger who never saw the answer cannot know it. (Bernstein, 1996; what is lost is the SYN's options, all but four
    sizes of segments, unless timestamps carry them.)
    """
    left, right = lab["left"], lab["right"]
    before = right.counters()
    with listening(right, BACKLOG) as listener, without_acks(right), knocking(lab, CLIENTS) as clients:
        assert comes_true(lambda: states(left) == {"ESTABLISHED": CLIENTS})
        room = states(right)["SYN_RECV"]
        assert room in {BACKLOG, BACKLOG + 1}
        assert right.counters()["TcpExtSyncookiesSent"] - before["TcpExtSyncookiesSent"] == CLIENTS - room

        right.run("nft", "flush chain ip lossy c").check()
        remembered = {one.remote[1] for one in right.sockets() if one.state == "SYN_RECV"}
        unknown = next(one for one in clients if one.getsockname()[1] not in remembered)
        unknown.send(b"remember me?")
        assert select.select([listener], [], [], 5)[0]
        with listener.accept()[0] as served:
            assert served.getpeername() == unknown.getsockname()
            assert served.recv(20) == b"remember me?"
        assert right.counters()["TcpExtSyncookiesRecv"] - before["TcpExtSyncookiesRecv"] == 1
