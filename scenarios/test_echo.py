"""Echo servers: what was sent comes back, all of it and in its order, whatever the client does meanwhile.

Poll, epoll, threads, signals, timers or a library: a client cannot tell how its server waits. All of them have to pass.

left (clients) ── lan ── right (server)
"""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from lab.errors import MissingToolError
from lab.mutants import faulty
from lab.probes import proc, tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true, wait_until

PORT = 7
SERVERS = (
    "echo_poll",
    "echo_epoll",
    "echo_epoll --edge",
    "echo_oneshot",
    "echo_tcp_udp",
    "echo_signals",
    "idle_list",
    "idle_wheel",
    "idle_heap",
    "event_echo",
)
PATTERN = bytes(range(251)) * 40_000  # its length shares no factor with any buffer's, so what moves shows


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each scenario with every server; against mutants with the one that has them."""
    if "server" in metafunc.fixturenames:
        metafunc.parametrize("server", SERVERS[:1] if metafunc.config.getoption("mutants") else SERVERS)


@contextmanager
def running(lab: Lab, server: str, *limits: str) -> Iterator[Process]:
    """The server, listening in `right`; `limits` are prlimit's."""
    name, *arguments = server.split()
    try:
        program = lab.program(name)
    except MissingToolError as error:
        if name == "event_echo":  # it is built where libevent is
            pytest.skip(str(error))
        raise
    command = [*(["prlimit", *limits] if limits else []), program, "--port", str(PORT), *arguments]
    with lab["right"].start(*command) as process:
        lab["right"].wait_listening(PORT, process)
        yield process


def client(lab: Lab) -> socket.socket:
    return lab["left"].connect(lab["right"].address(), PORT)


@contextmanager
def no_excuse() -> Iterator[None]:
    """Take a reset, and silence, for what they are here: something that the server must not do."""
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise AssertionError(f"the server gave up: {error}") from error


def heard(connection: socket.socket) -> bytes:
    """All that comes until the server's end, which must not be a reset."""
    with no_excuse():
        return tcp.read_to_end(connection)


def answered(connection: socket.socket, data: bytes) -> bytes:
    """What comes back for this."""
    with no_excuse():
        connection.sendall(data)
        return tcp.read_exactly(connection, len(data), timeout=5)


def unread(lab: Lab) -> int:
    """How many bytes have arrived at the server and wait to be read."""
    return sum(one.receive_queue for one in lab["right"].sockets() if one.local[1] == PORT and one.state != "LISTEN")


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.2")
@pytest.mark.mutant("it takes what was written for all that there was", faulty("echo_poll", "SHORT_WRITE"))
def test_a_client_that_reads_late_gets_all_that_it_has_sent(lab: Lab, server: str) -> None:
    """Buffers on the way hold a few megabytes; then the server's write(2) takes a part only of what it is given.

    A server that forgets the rest loses bytes. This one keeps them, and reads no more until they are gone, so that the
    client's own write comes to a stop too: flow control from one end to the other.
    """
    data = bytes(range(256)) * 65_536
    with running(lab, server), client(lab) as connection:
        sent = tcp.send_until_stalled(connection, data)
        connection.shutdown(socket.SHUT_WR)
        assert sent < len(data)
        assert heard(connection) == data[:sent]


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.2")
@pytest.mark.mutant("it wakes for two bytes and sleeps at one", faulty("echo_poll", "WAITS_FOR_MORE"))
def test_a_client_that_sends_byte_by_byte_is_answered_byte_by_byte(lab: Lab, server: str) -> None:
    """A stream has no messages: a server that waits for more than there is waits for ever."""
    with running(lab, server), client(lab) as connection:
        for byte in b"hello, world":
            assert answered(connection, bytes([byte])) == bytes([byte])


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.3.3")
@pytest.mark.mutant("it takes what was written for all that there was", faulty("echo_poll", "SHORT_WRITE"))
def test_a_flood_comes_back_in_its_order(lab: Lab, server: str) -> None:
    """Ten megabytes at once, read late at first and then as they come: the buffers fill and empty meanwhile."""
    with running(lab, server), client(lab) as connection:
        sent = tcp.send_until_stalled(connection, PATTERN)
        with no_excuse():
            begin = tcp.read_exactly(connection, sent // 2, timeout=5)
            rest = tcp.converse(connection, PATTERN[sent:], timeout=5)
        assert begin + rest == PATTERN


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.2")
@pytest.mark.mutant("it waits for its slowest reader", faulty("echo_poll", "BLOCKING"))
def test_a_slow_reader_holds_up_nobody_else(lab: Lab, server: str) -> None:
    """A write to a peer whose buffers are full would wait until it reads, and everybody else with it.

    So sockets are non-blocking, and who cannot take its answer now is asked again when it can.
    """
    with running(lab, server), client(lab) as slow, client(lab) as quick:
        sent = tcp.send_until_stalled(slow, PATTERN)
        assert sent < len(PATTERN)
        assert answered(quick, b"and me?") == b"and me?"


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.3.3")
@pytest.mark.mutant("it sees the end before what was said", faulty("echo_poll", "RDHUP_BEFORE_IN"))
def test_a_client_that_has_ended_its_side_gets_its_answer(lab: Lab, server: str) -> None:
    """Data and FIN lie in the socket together, and POLLRDHUP says at once that an end will come.

    But it comes behind the data. A server that closes for it never reads the question, and as closing with unread
    data makes a reset, it may even take back what it has answered.
    """
    data = PATTERN[:50_000]
    with running(lab, server) as process, client(lab) as connection:
        assert answered(connection, b"x") == b"x"
        proc.pause(lab["right"], process)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: unread(lab) >= len(data), timeout=10, what="the question and its end")
        process.signal(signal.SIGCONT)
        assert heard(connection) == data


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("10.5")
@pytest.mark.mutant("it does not ignore SIGPIPE", faulty("echo_poll", "SIGPIPE"))
def test_a_client_that_is_gone_before_its_answer_ends_nothing_but_its_own_connection(lab: Lab, server: str) -> None:
    """It says something, ends its side, and is gone: what it said can still be read, but the answer finds nobody.

    A write to such a connection raises SIGPIPE, whose default is to end the program. A server ignores it, and takes
    EPIPE from write(2) for what it is: the end of one connection.
    """
    with running(lab, server) as process:
        proc.pause(lab["right"], process)
        gone = client(lab)
        gone.sendall(b"are you there?")
        gone.shutdown(socket.SHUT_WR)
        tcp.reset(gone)
        with client(lab) as next_one:
            process.signal(signal.SIGCONT)
            # The first answer may come before the server has looked at the one that is gone; the second comes after.
            for question in (b"I am", b"and you?"):
                assert answered(next_one, question) == question
        assert process.exit_code is None


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.2")
@pytest.mark.mutant("it watches a listener that it cannot accept from", faulty("echo_poll", "EMFILE_SPINS"))
def test_without_free_descriptors_newcomers_wait_and_the_server_sleeps(lab: Lab, server: str) -> None:
    """accept(2) fails with EMFILE, and the connection stays where it is, so the listener goes on being readable.

    A server that is told so again and again burns its processor. It has to look away for a while; and as soon as
    somebody leaves there is a descriptor for somebody who waits.
    """
    with running(lab, server, "--nofile=40:40") as process, ExitStack() as connections:
        first, *_others, last = [connections.enter_context(client(lab)) for _ in range(60)]
        assert answered(first, b"in time") == b"in time"
        last.sendall(b"late")

        before = proc.processor_ticks(lab["right"], process.pid)
        assert not comes_true(lambda: bool(readable(last)), timeout=1)  # a second, in which nothing happens
        assert proc.processor_ticks(lab["right"], process.pid) - before < 20

        connections.close()
        with client(lab) as newcomer:
            assert answered(newcomer, b"at last") == b"at last"


def readable(connection: socket.socket) -> bytes:
    """What could be read now, which it still can be afterwards; nothing if there is nothing."""
    connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    try:
        return connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("10.4")
@pytest.mark.mutant("it drops what it has not read", faulty("echo_poll", "NO_DRAIN"))
def test_a_server_that_is_told_to_end_answers_what_has_arrived(lab: Lab, server: str) -> None:
    """SIGTERM closes the listener, and is for each connection as if the client had ended its side just then."""
    data = PATTERN[:50_000]
    with running(lab, server) as process, ExitStack() as stack:
        connections = [stack.enter_context(client(lab)) for _ in range(5)]
        for connection in connections:
            assert answered(connection, b"x") == b"x"
        proc.pause(lab["right"], process)
        for connection in connections:
            connection.sendall(data)
        wait_until(lambda: unread(lab) >= 5 * len(data), timeout=10, what="all that was sent")
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGCONT)
        assert [heard(connection) == data for connection in connections] == [True] * 5
        assert process.wait().exit_code == 0


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("10.4")
@pytest.mark.mutant("its patience has no end", faulty("echo_poll", "DRAINS_FOR_EVER"))
def test_a_server_that_is_told_to_end_does_not_wait_for_a_slow_reader_for_ever(lab: Lab, server: str) -> None:
    """Somebody who does not read could keep a server alive that wants to be polite. Its patience has an end."""
    with running(lab, server) as process, client(lab) as slow:
        assert tcp.send_until_stalled(slow, PATTERN) < len(PATTERN)
        process.signal(signal.SIGTERM)
        assert comes_true(lambda: process.exit_code is not None, timeout=8)
        assert process.exit_code == 0


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("5.11.1")
@pytest.mark.mutant("it listens without SO_REUSEADDR", faulty("echo_poll", "NO_REUSE"))
def test_a_server_starts_again_while_its_old_connections_are_in_time_wait(lab: Lab, server: str) -> None:
    """Who ends a connection first keeps it in TIME_WAIT for a minute, and with it the port.

    With SO_REUSEADDR the next server may listen all the same, so that a restart takes no minute.
    """

    def states() -> set[str]:
        return {one.state for one in lab["right"].sockets() if one.local[1] == PORT}

    with running(lab, server) as process, client(lab) as connection:
        assert answered(connection, b"x") == b"x"
        process.signal(signal.SIGTERM)
        assert heard(connection) == b""
        assert process.wait().exit_code == 0
    wait_until(lambda: states() == {"TIME_WAIT"}, timeout=10, what="TIME_WAIT")

    name, *arguments = server.split()
    again = lab["right"].start(lab.program(name), "--port", str(PORT), *arguments)
    wait_until(lambda: "LISTEN" in states() or again.exit_code is not None, timeout=10, what="the next server")
    assert again.exit_code is None
    with client(lab) as connection:
        assert answered(connection, b"again") == b"again"
