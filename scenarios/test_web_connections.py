"""A web server's connections: kept, half-closed, slow, idle, too many, and what becomes of them when it stops.

left (client) ── lan ── right (server)
"""

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lab.checks.tcp import has_data
from lab.mutants import faulty
from lab.probes import http, proc, tcp
from lab.probes.dialogue import Dialogue
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true

pytestmark = [pytest.mark.topology("two-hosts.yaml", reuse=True), pytest.mark.book("15.6")]


@contextmanager
def serving(lab: Lab, site: Path, *arguments: str) -> Iterator[Process]:
    """A web server on port 80 of right."""
    with lab["right"].deploy("web_server", "--root", str(site), *arguments) as server:
        yield server


def dialogue(lab: Lab) -> Dialogue:
    """A connection to the server."""
    return Dialogue(lab["left"].connect(lab["right"].address(), 80))


def get(target: str, *headers: tuple[str, str]) -> bytes:
    return http.request("GET", target, host="web", headers=headers)


def status(lab: Lab, target: str = "/") -> int:
    """The status of a response on a connection of its own; 0 if there was none."""
    try:
        with dialogue(lab) as anew:
            response = anew.ask(get(target))
    except OSError:
        return 0
    return response.status if response else 0


def open_sockets(lab: Lab) -> int:
    """How many connections the server's machine has open to the client."""
    return sum(one.local[1] == 80 and one.state in {"ESTABLISHED", "CLOSE_WAIT"} for one in lab["right"].sockets())


def queued(lab: Lab) -> int:
    """How many connections wait for the server to accept them."""
    return sum(one.receive_queue for one in lab["right"].sockets() if one.state == "LISTEN")


@pytest.mark.mutant("what came behind a request is forgotten", faulty("web_server", "PIPELINE_LOST"))
def test_requests_that_come_together_are_answered_in_their_order(lab: Lab, site: Path) -> None:
    """A client need not wait for an answer before it asks again: pipelining.

    A server that empties its buffer after every request loses those that came in the same segment.
    """
    targets = {"/page.html": 200, "/empty.txt": 200, "/none": 404, "/large.bin": 200, "/sub/": 200}
    with serving(lab, site), dialogue(lab) as client:
        client.send(b"".join(map(get, targets)) * 10)
        for wanted in [*targets.values()] * 10:
            answer = client.response()
            assert answer and answer.status == wanted
        assert client.end(timeout=0.1) == "open"


@pytest.mark.mutant("a body is taken for a request", faulty("web_server", "BODY_AS_REQUEST"))
def test_a_body_that_nobody_wants_is_read_all_the_same(lab: Lab, site: Path) -> None:
    """Behind it stands the next request. To take a body for one is how requests are smuggled past a proxy."""
    body = get("/secret")
    chunks = b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    with serving(lab, site), dialogue(lab) as client:
        client.send(http.request("POST", "/", host="web", body=body) + chunks % (len(body), body) + get("/"))
        answers = [client.response() for _ in range(3)]
        assert [answer and answer.status for answer in answers] == [405, 405, 200]
        assert client.end(timeout=0.1) == "open"


@pytest.mark.mutant("connections are kept whatever the client says", faulty("web_server", "KEEP_ALIVE_IGNORES_CLOSE"))
def test_a_connection_is_kept_or_closed_as_the_client_has_said(lab: Lab, site: Path) -> None:
    """HTTP/1.1 keeps a connection unless one side says "close"; HTTP/1.0 ends it unless both say "keep-alive"."""
    old = b"GET / HTTP/1.0\r\n"
    requests = {
        get("/"): ("open", None),
        get("/", ("Connection", "close")): ("closed", "close"),
        get("/", ("Connection", "TE, Close")): ("closed", "close"),
        old + b"\r\n": ("closed", "close"),
        old + b"Connection: Keep-Alive\r\n\r\n": ("open", "keep-alive"),
    }
    with serving(lab, site):
        for request, (end, said) in requests.items():
            with dialogue(lab) as client:
                answer = client.ask(request)
                assert answer and answer.header("Connection") == said, request
                assert client.end(timeout=0.1 if end == "open" else 5) == end, request


@pytest.mark.mutant("it closes when the client has half-closed", faulty("web_server", "RDHUP_BEFORE_IN"))
def test_a_client_that_has_said_its_last_word_still_gets_its_answer(lab: Lab, site: Path) -> None:
    """Request and FIN come in one segment, as they do from `nc -N`; epoll reports EPOLLIN and EPOLLRDHUP together.

    Half-closed means that the client sends no more, not that it reads no more. The book's server takes EPOLLRDHUP for
    the end, and closes without a look at the request.
    """
    with serving(lab, site), dialogue(lab) as client:
        client.connection.send(get("/large.bin"), socket.MSG_MORE)  # waits in the kernel, for what goes with it
        client.connection.shutdown(socket.SHUT_WR)
        answer = client.response()
        assert answer and len(answer.body) == 5 << 20
        assert client.end() == "closed"


@pytest.mark.mutant("every connection ends with a reset", faulty("web_server", "LINGER_ZERO"))
def test_the_last_answer_arrives_whole_although_the_server_closes_behind_it(lab: Lab, site: Path) -> None:
    """close(2) leaves what is not sent yet to the kernel, which sends it and then the FIN, however long that takes.

    SO_LINGER with zero seconds, as the book's server sets it on every socket, makes close throw all that away, and tell
    the client so with a reset. The client here has a small window, so that there is something not sent yet.
    """
    with serving(lab, site), a_slow_reader(lab) as client:
        client.send(get("/page.html") * 15 + get("/page.html", ("Connection", "close")))
        assert comes_true(lambda: open_sockets(lab) == 0)  # the server has closed; nothing was read yet
        for _ in range(16):
            answer = client.response()
            assert answer and len(answer.body) == 1024
        assert client.end() == "closed"


@pytest.mark.mutant("it does not look whether something is unread", faulty("web_server", "UNREAD_RST"))
@pytest.mark.parametrize("head", [b"GET /large.bin HTTP/1.0\r\n", get("/large.bin", ("Connection", "close"))[:-2]])
def test_an_answer_arrives_whole_although_the_client_talks_on_behind_its_last_request(
    lab: Lab, site: Path, head: bytes
) -> None:
    """What comes behind the last request is read by nobody, and close(2) resets a connection in which something lies.

    The reset takes back what is still in the server's send queue. So the server looks: if something lies there it ends
    its own side only, and throws away what the client says until the client ends, too.
    """
    with serving(lab, site), a_slow_reader(lab) as client:
        client.send(head + b"\r\n")
        assert client.connection.recv(1, socket.MSG_PEEK)
        client.send(get("/page.html"))
        answer = client.response()
        assert answer and len(answer.body) == 5 << 20
        assert client.end() == "closed"


def a_slow_reader(lab: Lab) -> Dialogue:
    """A connection whose client has room for little, so that most of an answer waits in the server's kernel."""
    return Dialogue(lab["left"].connect(lab["right"].address(), 80, receive_buffer=4096))


@pytest.mark.mutant("head and content are written apart", faulty("web_server", "NAGLE"))
def test_a_small_answer_goes_in_one_segment(lab: Lab, site: Path) -> None:
    """Head and content go into one send.

    Written one after the other they are two small segments, and Nagle's algorithm holds the second back until the
    client acknowledges the first, which it puts off for 40 ms: 25 requests in a second, where thousands were possible.
    """
    with serving(lab, site), lab["left"].capture("eth0") as capture, dialogue(lab) as client:
        answers = [client.ask(get("/page.html")) for _ in range(10)]
        assert all(answers)
    sent = [packet for packet in capture.trace.where(has_data) if packet.tcp and packet.tcp.source_port == 80]
    assert len(sent) == 10


@pytest.mark.mutant("what sendfile took is taken for all", faulty("web_server", "PARTIAL_SEND"))
def test_slow_readers_get_large_files_whole_and_hold_nobody_up(lab: Lab, site: Path) -> None:
    """sendfile(2) takes what the socket's buffer has room for; the rest has to wait, and be remembered.

    The book's server takes one writev for all: of a 5 MB file a third arrives. Here twenty clients ask and do not read,
    others are served meanwhile by the only thread, and then the twenty read what they have asked for.
    """
    content = (site / "large.bin").read_bytes()
    with serving(lab, site), ExitStack() as stack:
        slow = [stack.enter_context(dialogue(lab)) for _ in range(20)]
        for client in slow:
            client.send(get("/large.bin"))
        assert [status(lab) for _ in range(20)] == [200] * 20
        for client in slow:
            answer = client.response()
            assert answer and answer.body == content


@pytest.mark.slow
@pytest.mark.mutant("what sendfile took is taken for all", faulty("web_server", "PARTIAL_SEND"))
def test_a_file_of_a_gigabyte_arrives_to_its_last_byte(lab: Lab, site: Path) -> None:
    """Its bytes go from the page cache to the socket and never through the server, whose memory does not grow."""
    with serving(lab, site) as server, dialogue(lab) as client:
        client.send(get("/huge.bin", ("Range", f"bytes=0-{(1 << 30) - 1}")))
        piece, received = bytearray(1 << 20), 0
        head = client.connection.recv(4096, socket.MSG_PEEK)
        whole = head.index(b"\r\n\r\n") + 4 + (1 << 30)
        while received < whole and (count := tcp_into(client.connection, piece)):
            received += count
        memory = int(lab["right"].run("ps", "-o", "rss=", "-p", str(server.pid)).check().stdout)
        assert received == whole and memory < 32_000  # KB


def tcp_into(connection: socket.socket, piece: bytearray) -> int:
    """Receive into a piece; 0 at the end, or if nothing comes for a while."""
    connection.settimeout(2)
    try:
        return connection.recv_into(piece)
    except TimeoutError:
        return 0


@pytest.mark.mutant("a request comes in one read or is none", faulty("web_server", "ONE_READ"))
def test_a_request_that_comes_byte_by_byte_is_answered(lab: Lab, site: Path) -> None:
    """TCP is a stream: where one read ends and the next begins means nothing."""
    request = get("/page.html", ("X-Padding", "y"))
    with serving(lab, site), dialogue(lab) as client:
        client.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for byte in request:
                client.send(bytes([byte]))
        except OSError:  # it has had enough
            pass
        answer = client.response()
        assert answer and answer.status == 200


@pytest.mark.mutant("any byte buys more time", faulty("web_server", "SLOW_LORIS"))
def test_a_request_that_never_ends_is_given_up(lab: Lab, site: Path) -> None:
    """A request has so much time from its first byte to its last, however busily bytes come.

    A server that only looks for silence can be kept busy by a client that sends a byte now and then, and with a
    thousand of those it has no connections left: Slowloris.
    """
    with serving(lab, site, "--request-timeout", "0.5", "--idle-timeout", "60"), dialogue(lab) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: web\r\nX: ")
        client.connection.settimeout(0)

        def drips_until_answered() -> bool:
            try:
                client.connection.send(b"y")
                return bool(client.connection.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                return False

        assert comes_true(drips_until_answered)
        answer = client.response()
        assert answer and (answer.status, answer.header("Connection")) == (408, "close")


@pytest.mark.mutant("idle connections are kept for ever", faulty("web_server", "IDLE_NEVER"))
def test_an_idle_connection_is_closed_without_a_word(lab: Lab, site: Path) -> None:
    """Nothing was asked, so there is nothing to answer: not to one that has never asked, and not between requests."""
    with serving(lab, site, "--idle-timeout", "0.5"), dialogue(lab) as silent, dialogue(lab) as content:
        assert content.ask(get("/"))
        assert silent.end() == "closed"
        assert content.end() == "closed"


@pytest.mark.mutant("SIGPIPE is left as it is", faulty("web_server", "DIES_OF_SIGPIPE"))
def test_clients_that_vanish_in_the_middle_are_nobody_elses_trouble(lab: Lab, site: Path) -> None:
    """A client half-closes and then resets: the next write is EPIPE, with a SIGPIPE that kills who has not ignored it.

    Another resets at once, which makes it ECONNRESET.
    """
    with serving(lab, site) as server:
        for half_closes in (True, False):
            with dialogue(lab) as client:
                client.send(get("/large.bin"))
                assert client.connection.recv(1)
                if half_closes:
                    client.connection.shutdown(socket.SHUT_WR)
                tcp.reset(client.connection)
            assert comes_true(lambda: open_sockets(lab) == 0)
            assert (server.exit_code, status(lab)) == (None, 200)


@pytest.mark.mutant("it asks on and on", faulty("web_server", "ACCEPT_SPINS"))
def test_without_descriptors_it_lets_clients_wait_and_does_not_spin(lab: Lab, site: Path) -> None:
    """accept(2) fails with EMFILE, and the connection that it could not take keeps the listening socket readable.

    A server that goes on watching it burns a core for nothing. This one looks away for a tenth of a second; whoever
    waits is served when a connection is closed. The limit is set by prlimit(1).
    """
    with (
        lab["right"].start(
            *("prlimit", "--nofile=16:16", lab.program("web_server"), "--port", "80", "--root", str(site))
        ) as server,
        ExitStack() as stack,
    ):
        lab["right"].wait_listening(80, server)
        clients = [stack.enter_context(dialogue(lab)) for _ in range(20)]
        assert comes_true(lambda: queued(lab) > 0)
        before = proc.processor_ticks(lab["right"], server.pid)
        assert not comes_true(lambda: proc.processor_ticks(lab["right"], server.pid) - before > 20, timeout=1)
        for client in clients[:15]:
            client.connection.close()
        answer = clients[-1].ask(get("/", ("Connection", "close")))
        assert answer and answer.status == 200


@pytest.mark.mutant("it accepts all the same", faulty("web_server", "NO_LIMIT"))
def test_at_its_limit_of_connections_it_lets_clients_wait(lab: Lab, site: Path) -> None:
    """The third client is connected by the kernel, and waits in the queue of the listening socket, request and all.

    The server does not look at it when it serves one of the two whom it has; when one of them goes it does.
    """
    with serving(lab, site, "--connections", "2"), dialogue(lab) as first, dialogue(lab) as second:
        assert first.ask(get("/")) and second.ask(get("/"))
        with dialogue(lab) as third:
            third.send(get("/page.html", ("Connection", "close")))
            assert first.ask(get("/"))
            assert queued(lab) == 1
            second.connection.close()
            answer = third.response()
            assert answer and answer.status == 200
        assert first.ask(get("/"))


@pytest.mark.mutant("full after a burst, it goes on listening", faulty("web_server", "FULL_AND_LISTENING"))
def test_a_worker_that_a_burst_has_filled_leaves_the_next_client_to_others(lab: Lab, site: Path) -> None:
    """Of the workers that watch the listening socket a new client wakes one only (EPOLLEXCLUSIVE).

    If that one has as many clients as it may have, it looks away, and nobody else wakes up: the client waits until
    another comes. So a worker has to look away as soon as it is full. One accepts up to eight clients in a row and may
    have eight here; those that a stopped server finds waiting fill all workers but one. Which one that is, and which
    one the kernel wakes first, is chance.
    """
    for _ in range(30):
        with serving(lab, site, "--workers", "4", "--connections", "32") as server, ExitStack() as stack:
            server.signal(signal.SIGSTOP)
            for _ in range(24):
                stack.enter_context(dialogue(lab))
            server.signal(signal.SIGCONT)
            assert comes_true(lambda: queued(lab) == 0)
            for _ in range(4):
                answer = stack.enter_context(dialogue(lab)).ask(get("/"))
                assert answer and answer.status == 200


@pytest.mark.mutant("it waits for its slowest reader", faulty("web_server", "DRAINS_FOR_EVER"))
def test_a_reader_that_does_not_read_holds_a_stop_up_for_a_limited_time(lab: Lab, site: Path) -> None:
    """Whoever is sent something when SIGTERM comes may take it, but not for as long as it likes.

    Its connection ends with the server, in the middle of the answer: by its Content-Length it can tell.
    """
    limits = ("--drain-timeout", "0.5", "--idle-timeout", "3600")
    with serving(lab, site, *limits) as server, dialogue(lab) as stuck:
        stuck.send(get("/huge.bin"))
        assert stuck.connection.recv(1, socket.MSG_PEEK)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert comes_true(lambda: server.exit_code is not None, timeout=10)
        assert time.monotonic() - began >= 0.5
        assert server.exit_code == 0
        assert len(tcp.read_to_any_end(stuck.connection)) < 5 << 30


@pytest.mark.mutant("it stops where it is", faulty("web_server", "STOPS_AT_ONCE"))
def test_on_sigterm_it_finishes_what_is_under_way_and_takes_on_nothing_new(lab: Lab, site: Path) -> None:
    """An answer that has begun arrives whole, a request that has begun is answered, with "Connection: close".

    Idle connections are closed, and new ones refused. Then the exit code is 0.
    """
    with serving(lab, site, "--workers", "2") as server, ExitStack() as stack:
        idle, slow, late = (stack.enter_context(dialogue(lab)) for _ in range(3))
        assert idle.ask(get("/")) and late.ask(get("/"))
        late.send(get("/page.html")[:-2])
        slow.send(get("/large.bin"))
        assert slow.connection.recv(1, socket.MSG_PEEK)
        server.signal(signal.SIGTERM)
        assert idle.end() == "closed"
        # Each worker stops by itself, and the last of them closes the listening socket.
        assert comes_true(lambda: all(one.state != "LISTEN" for one in lab["right"].sockets()))
        assert status(lab) == 0
        late.send(b"\r\n")
        answers = [late.response(), slow.response()]
        assert [answer and len(answer.body) for answer in answers] == [1024, 5 << 20]
        assert answers[0] and answers[0].header("Connection") == "close"
        assert (late.end(), slow.end(), server.wait().exit_code) == ("closed", "closed", 0)


@pytest.mark.mutant("it does not look whether something is unread", faulty("web_server", "UNREAD_RST"))
def test_on_sigterm_a_request_that_came_during_an_answer_costs_nothing_of_it(lab: Lab, site: Path) -> None:
    """The second request lies in the kernel while the first is answered. It is answered too, and is the last one.

    To close the connection at the end of the first answer would be to reset it, and the answer's end would be lost.
    """
    with serving(lab, site) as server, a_slow_reader(lab) as client:
        client.send(get("/large.bin"))
        assert client.connection.recv(1, socket.MSG_PEEK)
        client.send(get("/page.html"))
        server.signal(signal.SIGTERM)
        assert comes_true(lambda: all(one.state != "LISTEN" for one in lab["right"].sockets()))
        answers = [client.response(), client.response()]
        assert [answer and len(answer.body) for answer in answers] == [5 << 20, 1024]
        assert [answer and answer.header("Connection") for answer in answers] == [None, "close"]
        assert (client.end(), server.wait().exit_code) == ("closed", 0)


@pytest.mark.mutant("its threads are joined, and not told", faulty("web_server", "NOBODY_SAYS_STOP"))
def test_what_fails_when_its_threads_run_already_ends_it_with_a_line(lab: Lab, site: Path) -> None:
    """Threads are joined at the end of their scope, whyever it is left, and so have to be told to end before.

    What fails here is to say that it is ready, to somebody who is not there.
    """
    command = (lab.program("web_server"), "--port", "80", "--root", str(site))
    with lab["right"].start(*command, environment={"LAB_READY_FD": "999"}) as server:
        assert comes_true(lambda: server.exit_code is not None)
        assert (server.exit_code, server.stderr) == (1, "web_server: write LAB_READY_FD: Bad file descriptor\n")


@pytest.mark.mutant("clients write lines of their own", faulty("web_server", "LOG_RAW"))
def test_the_log_has_a_line_per_request_and_the_counters_agree(lab: Lab, site: Path, tmp_path: Path) -> None:
    """The common log format; bytes that are not printable, and quotes, are escaped: what stands there is not of trust.

    SIGUSR1 asks for the counters, which are sums over all workers.
    """
    log, client = tmp_path / "access.log", lab["left"].address()
    with serving(lab, site, "--workers", "2", "--access-log", str(log)) as server:
        assert [status(lab, target) for target in ("/page.html", "/none", '/"\\x22é"')] == [200, 404, 404]
        with dialogue(lab) as rude:
            assert rude.ask(b"GET / HTTP/9.9\rfaked line\r\n\r\n")
        assert comes_true(lambda: open_sockets(lab) == 0)
        server.signal(signal.SIGUSR1)
        assert comes_true(lambda: "}" in server.stderr)
        counters = json.loads(server.stderr)
        server.stop()
        lines = sorted(
            line.split(" ", 3)[0] + " " + line.split("] ", 1)[1]
            for line in log.read_text(errors="replace").splitlines()
        )
        assert lines == sorted(
            [
                f'{client} "GET /page.html HTTP/1.1" 200 1024',
                f'{client} "GET /none HTTP/1.1" 404 68',
                f'{client} "GET /\\x22\\x5cx22\\xe9\\x22 HTTP/1.1" 404 68',
                f'{client} "GET / HTTP/9.9" 400 72',
            ]
        )
    known = {"accepted": 4, "open": 0, "requests": 4, "answered_2xx_3xx": 1, "answered_4xx": 3, "answered_5xx": 0}
    assert known.items() <= counters.items()
