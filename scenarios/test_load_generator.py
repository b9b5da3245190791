"""The load generator: what it asks for is valid, what it counts is true, and it does not overlook what it waits for.

left (the generator) ── lan ── right (a server made of the test's own sockets)
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from lab.checks import http
from lab.errors import WaitTimeoutError
from lab.mutants import faulty
from lab.probes import tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import wait_until

PORT = 8080
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
BAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
STALL = 1.0  # seconds

Answer = Callable[[socket.socket], bool]


def request_of(connection: socket.socket) -> bytes:
    """Return the next request's head; nothing if there is none any more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            return b""
        head += piece
    return head


def serve(connection: socket.socket, answer: Answer) -> None:
    """Answer requests of a connection, those without a Host as RFC 9112, section 3.2 wants it, until it ends."""
    with connection, suppress(ConnectionError):
        while head := request_of(connection):
            if b"\r\nHost: " not in head:
                connection.sendall(BAD)
            elif not answer(connection):
                return


@contextmanager
def answering(lab: Lab, answer: Answer) -> Iterator[None]:
    """Listen, and let a thread for each connection answer; `answer` says whether the connection goes on."""
    threads: list[threading.Thread] = []

    def accept() -> None:
        with suppress(OSError):  # it is shut down in the end
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(connection, answer)))
                threads[-1].start()

    with lab["right"].socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((lab["right"].address(), PORT))
        listener.listen(128)
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *threads):
                thread.join()


def start(lab: Lab, *options: str) -> Process:
    """Start the generator."""
    where = ("--host", lab["right"].address(), "--port", str(PORT))
    return lab["left"].start(lab.program("load_generator"), *where, *options)


def load(lab: Lab, *options: str) -> Any:
    """Run the generator to its end, and return what it prints, which is true to itself."""
    with start(lab, *options) as process:
        return results_of(process.wait().check().stdout)


def results_of(text: str) -> Any:
    """Read the results; requests are answered or have failed, and each answer is in the histogram."""
    found = json.loads(text)
    latency = found["latency_us"]
    assert found["requests"] == found["answered"] + sum(found["errors"].values())
    assert found["answered"] == sum(count for _, count in latency["buckets"])
    for rate, count in (("requests", "answered"), ("bytes", "bytes"), ("connects", "connects")):
        assert_rate(found[f"{rate}_per_second"], found[count], found["seconds"])
    assert latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["max"]
    return found


def assert_rate(rate: float, count: int, seconds: float) -> None:
    """A rate is the count over the time, as far as one can tell by numbers that are rounded to thousandths."""
    rounded = 0.0006
    least = max(0, rate - rounded) * max(0, seconds - rounded)
    assert least <= count <= (rate + rounded) * (seconds + rounded)


def says(*pieces: bytes, goes_on: bool = True) -> Answer:
    """Return an answer that is sent piece by piece."""

    def answer(connection: socket.socket) -> bool:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        return goes_on

    return answer


def pass_until(moment: float) -> None:
    """Let time pass, as a server does that has something else to do."""
    wait_until(lambda: time.monotonic() >= moment, timeout=2 * STALL, what="the time to pass")


def resets(connection: socket.socket) -> bool:
    """Reset the connection."""
    tcp.reset(connection)
    return False


def never(connection: socket.socket) -> bool:
    """Say nothing until the other side gives up."""
    connection.recv(1)
    return False


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("there is no Host", faulty("load_generator", "INVALID_REQUEST"))
@pytest.mark.parametrize(("options", "connections"), [((), 1), (("--close",), 5)], ids=["keep-alive", "close"])
def test_what_it_asks_for_is_a_valid_request(lab: Lab, options: tuple[str, ...], connections: int) -> None:
    """A server may refuse HTTP/1.1 without a Host; the book's own generator gets nothing but 400 from a strict one.

    With --close each request has a connection of its own, and says so, so that the server ends it: who closes first
    has the connection in TIME_WAIT.
    """
    with lab["right"].capture() as capture, answering(lab, says(GOOD, goes_on=not options)):
        found = load(lab, "--connections", "1", "--requests", "5", "--path", "/a?b=c", *options)
    assert (found["requests"], found["answered"], found["connects"]) == (5, 5, connections)
    requests = [one.request for one in http.exchanges(capture.trace, port=PORT)]
    assert {(one.method, one.target, one.version) for one in requests} == {("GET", "/a?b=c", "1.1")}
    assert {one.header("host") for one in requests} == {f"{lab['right'].address()}:{PORT}"}
    assert {one.header("connection") for one in requests} == {"close" if options else None}
    assert len(requests) == 5


ANSWERS = {
    "a length": says(GOOD),
    "chunks": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\ngood\r\n0\r\nTrailer: x\r\n\r\n"),
    "up to the end": says(b"HTTP/1.1 200 OK\r\n\r\ngood", goes_on=False),
    "no body": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "an interim response": says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + GOOD),
    "byte by byte": says(*(bytes([one]) for one in GOOD)),
    "HTTP/1.0": says(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\ngood", goes_on=False),
    "and close": says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ngood", goes_on=False),
}


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("there is no Host", faulty("load_generator", "INVALID_REQUEST"))
@pytest.mark.parametrize("kind", ANSWERS)
def test_it_finds_the_end_of_every_kind_of_response(lab: Lab, kind: str) -> None:
    """A length, chunks, the connection's end, or nothing at all: RFC 9112, section 6.3 has the list."""
    with answering(lab, ANSWERS[kind]):
        found = load(lab, "--connections", "2", "--requests", "6")
    assert (found["answered"], found["errors"]) == (6, dict.fromkeys(found["errors"], 0))


FAILURES = {
    "reset": resets,
    "timeout": never,
    "status": says(UNAVAILABLE),
    "incomplete": says(GOOD[:-1], goes_on=False),
    "malformed": says(b"SSH-2.0-OpenSSH_9.2\r\n"),
}
NOT_HTTP = {
    "two lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\ngood"),
    "a length and chunks": says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\ngood"),
    "a length below zero": says(b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\ngood"),
    "more than was asked for": says(GOOD * 2),
    "a head without end": says(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000),
}


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("all is well", faulty("load_generator", "ALL_IS_WELL"))
@pytest.mark.parametrize("kind", FAILURES)
def test_each_kind_of_failure_is_counted_as_what_it_is(lab: Lab, kind: str) -> None:
    """A generator that counts answers only praises the server that resets fastest."""
    with answering(lab, FAILURES[kind]):
        found = load(lab, "--connections", "2", "--requests", "4", "--timeout", "0.3" if kind == "timeout" else "5")
    assert found["errors"] == {**dict.fromkeys(found["errors"], 0), kind: 4}


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("all is well", faulty("load_generator", "ALL_IS_WELL"))
@pytest.mark.parametrize("kind", NOT_HTTP)
def test_what_is_no_response_is_malformed(lab: Lab, kind: str) -> None:
    """Two readers that guess differently where a response ends see different responses: so nothing is guessed."""
    with answering(lab, NOT_HTTP[kind]):
        found = load(lab, "--connections", "1", "--requests", "2")
    assert found["errors"] == {**dict.fromkeys(found["errors"], 0), "malformed": 2}


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("all is well", faulty("load_generator", "ALL_IS_WELL"))
def test_where_nobody_listens_each_request_fails_to_connect(lab: Lab) -> None:
    """The generator ends all the same, with a result: a server that is down is one."""
    found = load(lab, "--connections", "2", "--requests", "10")
    assert found["errors"] == {**dict.fromkeys(found["errors"], 0), "connect": 10}
    assert found["connects"] == 0


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("it ends without a result", faulty("load_generator", "ENDS_WITHOUT_DESCRIPTORS"))
def test_without_descriptors_requests_fail_and_the_others_count(lab: Lab) -> None:
    """A limit of descriptors is the machine's answer to too many connections, and no end of the measurement.

    The soft limit is the generator's own to raise; at the hard one a connection cannot be made, and that is counted.
    """
    where = ("--host", lab["right"].address(), "--port", str(PORT), "--connections", "50", "--requests", "200")
    program = (lab.program("load_generator"), *where)
    for limit, fails in {"30:30": True, "30:1000": False}.items():
        with answering(lab, says(GOOD)), lab["left"].start("prlimit", f"--nofile={limit}", *program) as process:
            done = process.wait()
        assert done.exit_code == 0, done.stderr
        found = results_of(done.stdout)
        assert found["requests"] == 200 and found["answered"] > 0
        assert found["requests"] == found["answered"] + found["errors"]["connect"]
        assert (found["errors"]["connect"] > 0) is fails


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("a percentile is the next greater value", faulty("load_generator", "NEXT_RANK"))
def test_of_a_thousand_requests_one_may_be_slower_than_99_9_percent(lab: Lab) -> None:
    """The value that 99.9 % do not exceed is the 999th of 1000. In floating point, 99.9 / 100 * 1000 is more than 999.

    One request has to wait here, so that the 1000th is not the 999th.
    """
    requests = iter(range(1000))

    def answer(connection: socket.socket) -> bool:
        if next(requests) == 500:
            pass_until(time.monotonic() + STALL / 4)
        connection.sendall(GOOD)
        return True

    with answering(lab, answer):
        latency = load(lab, "--connections", "1", "--requests", "1000")["latency_us"]
    below = 0
    for upper_end, count in latency["buckets"]:
        below += count
        if below >= 999:
            assert latency["p99.9"] == pytest.approx(min(upper_end, latency["max"]))
            break
    assert latency["max"] >= STALL / 4 * 1e6 and latency["mean"] < latency["max"]


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("it measures from when it can send", faulty("load_generator", "COORDINATED_OMISSION"))
def test_what_waits_while_the_server_stalls_is_in_the_latencies(lab: Lab) -> None:
    """Half of the time the server is asleep. Half of all users would have waited, most of them long.

    A generator that asks again only when it is answered sends one request in that time, and reports one slow answer
    among hundreds. This one asks at a fixed rate, and counts from when each request was due.
    """
    wakes: list[float] = []

    def stalls_once(connection: socket.socket) -> bool:
        with lock:
            if not wakes:
                wakes.append(time.monotonic() + STALL)
        pass_until(wakes[0])
        return says(GOOD)(connection)

    lock = threading.Lock()
    with answering(lab, stalls_once):
        found = load(lab, "--connections", "2", "--rate", "100", "--duration", str(2 * STALL))
    assert found["requests"] == found["answered"] == 200
    at_least = {"p90": 0.6, "p99": 0.9, "max": 0.98}
    assert {key: found["latency_us"][key] / 1e6 >= value for key, value in at_least.items()} == dict.fromkeys(
        at_least, True
    )


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("there is no Host", faulty("load_generator", "INVALID_REQUEST"))
def test_threads_share_connections_and_requests(lab: Lab) -> None:
    """Three connections among two threads, thirty requests in all: neither more nor less."""
    with answering(lab, says(GOOD)):
        found = load(lab, "--workers", "2", "--connections", "3", "--requests", "30")
    assert (found["threads"], found["connections"]) == (2, 3)
    assert found["connects"] <= 3  # one thread may have asked for all before the other begins
    assert (found["requests"], found["answered"], found["bytes"]) == (30, 30, 30 * len(GOOD))


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("there is no Host", faulty("load_generator", "INVALID_REQUEST"))
def test_one_that_is_stopped_early_says_what_it_has_seen(lab: Lab) -> None:
    """SIGTERM: no new requests, and the results of those that there were."""
    seen = []

    def counted(connection: socket.socket) -> bool:
        seen.append(1)
        return says(GOOD)(connection)

    with answering(lab, counted), start(lab, "--duration", "3600") as process:
        with suppress(WaitTimeoutError):
            wait_until(lambda: len(seen) > 10, timeout=5, what="some requests")
        found = results_of(process.stop().check().stdout)
    assert found["answered"] > 10
    assert found["seconds"] < 3600


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("16.4")
@pytest.mark.mutant("there is no Host", faulty("load_generator", "INVALID_REQUEST"))
def test_a_slow_answer_is_as_slow_as_it_was(lab: Lab) -> None:
    """A closed loop with one connection: each latency is the server's delay, and a little more."""

    def late(connection: socket.socket) -> bool:
        pass_until(time.monotonic() + 0.05)
        return says(GOOD)(connection)

    with answering(lab, late):
        found = load(lab, "--connections", "1", "--requests", "5")
    assert found["answered"] == 5
    assert min(upper_end for upper_end, _ in found["latency_us"]["buckets"]) >= 50_000
    assert found["seconds"] >= 0.25
