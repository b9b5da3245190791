"""Moving data without copying it: writev, sendfile, splice and tee, as strace sees them (the book's 6.3 to 6.7).

left (client) ── lan ── right (server)
"""

import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.checks.tcp import has_data
from lab.errors import NotSupportedError
from lab.mutants import faulty
from lab.node import Node
from lab.probes import proc, strace, tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true, wait_until

PORT = 7
MOVING = (
    *("read", "pread64", "readv", "recvfrom", "recvmsg", "write", "pwrite64", "writev", "sendto", "sendmsg"),
    *("splice", "sendfile", "tee"),
)
DATA = bytes(range(256)) * 16_384  # 4 MB
OWN_AFFAIRS = 1000  # bytes that a program may read and write without copying its data: sanitizers do
PATIENCE = 5.0  # seconds without a byte, after which no more is expected


@contextmanager
def watched(node: Node, program: Process, *names: str) -> Iterator[strace.Calls]:
    """The system calls of a program; the test is skipped where nobody may see them."""
    try:
        with strace.watch(node, program, *names) as calls:
            yield calls
    except NotSupportedError as error:
        assert program.exit_code is None, "the program that was to be watched has ended"
        pytest.skip(str(error))


def bytes_moved(calls: Iterable[strace.Call]) -> Counter[str]:
    """How many bytes went through each system call."""
    moved: Counter[str] = Counter()
    for call in calls:
        moved[call.name] += max(call.result or 0, 0)
    return moved


def accepted(node: Node) -> int:
    """How many connections the server has descriptors for."""
    return sum(one.local[1] == PORT and one.state == "ESTABLISHED" and one.inode != 0 for one in node.sockets())


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.6")
@pytest.mark.mutant("it reads and writes", faulty("echo_splice", "COPIES"))
def test_an_echo_by_splice_never_sees_what_it_echoes(lab: Lab) -> None:
    """Pages go from the socket into a pipe and from there back; no system call has a buffer of the program's."""
    right = lab["right"]
    with (
        right.deploy("echo_splice", port=PORT) as server,
        watched(right, server, *MOVING) as calls,
        lab["left"].connect(right.address(), PORT) as client,
    ):
        assert tcp.converse(client, DATA) == DATA
    moved = bytes_moved(calls)
    assert moved["splice"] == 2 * len(DATA)
    assert moved.total() - moved["splice"] < OWN_AFFAIRS


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.3")
@pytest.mark.mutant("the header is sent before the file", faulty("file_writev", "TWO_WRITES"))
def test_one_writev_sends_a_header_and_a_file_that_lie_apart(lab: Lab, tmp_path: Path) -> None:
    """The call has a list of two places: the header, which was just made, and the file, which mmap(2) has shown.

    Nobody copies them together first, and they leave in one segment. Two writes would be two segments, the second of
    which may have to wait for the first one's acknowledgment (Nagle's algorithm).
    """
    content = DATA[:1000]
    whole = b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n" + content
    (tmp_path / "index.html").write_bytes(content)
    right = lab["right"]
    with (
        right.deploy("file_writev", "--root", str(tmp_path), port=PORT) as server,
        right.capture() as capture,
        watched(right, server, *MOVING) as calls,
        lab["left"].connect(right.address(), PORT) as client,
    ):
        assert tcp.read_to_end(client) == whole
    sent = [call for call in calls if "HTTP/1.0" in call.arguments or call.result == len(content)]
    assert [(call.name, call.result) for call in sent] == [("writev", len(whole))]
    assert re.findall(r"iov_len=(\d+)", sent[0].arguments) == [str(len(whole) - len(content)), str(len(content))]
    assert bytes_moved(calls).total() - len(whole) < OWN_AFFAIRS
    assert [packet.payload for packet in capture.trace.where(has_data)] == [whole]


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.4")
@pytest.mark.mutant("it reads and writes", faulty("file_sendfile", "COPIES"))
def test_sendfile_sends_a_file_that_the_program_never_reads(lab: Lab, tmp_path: Path) -> None:
    """The kernel has the file's pages in its cache, and gives them to the socket as they are."""
    (tmp_path / "index.html").write_bytes(DATA)
    right = lab["right"]
    with (
        right.deploy("file_sendfile", "--root", str(tmp_path), port=PORT) as server,
        watched(right, server, *MOVING) as calls,
        lab["left"].connect(right.address(), PORT) as client,
    ):
        assert tcp.read_to_end(client) == DATA
    moved = bytes_moved(calls)
    assert moved["sendfile"] == len(DATA)
    assert moved.total() - moved["sendfile"] < OWN_AFFAIRS


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.7")
@pytest.mark.mutant("the end of the old file is left", faulty("tee_file", "NOT_TRUNCATED"))
def test_tee_gives_one_input_to_two_outputs_unseen(lab: Lab, tmp_path: Path) -> None:
    """tee(2) lets the pages of one pipe appear in another too; splice(2) takes them to the file, and to the output.

    The file is as long as the input, though a longer one was there before.
    """
    copy = tmp_path / "copy"
    copy.write_bytes(b"what was there before " * 10)
    text = "one line of many\n" * 10
    try:
        done, calls = strace.run(
            lab["right"], [lab.program("tee_file"), "--file", str(copy)], MOVING, stdin=text.encode()
        )
    except NotSupportedError as error:
        pytest.skip(str(error))
    assert done.exit_code == 0
    assert done.stdout == text
    assert copy.read_text() == text
    assert not [call for call in calls if "one line" in call.arguments]  # strace would show it in a buffer
    moved = bytes_moved(calls)
    assert (moved["tee"], moved["splice"]) == (len(text), 3 * len(text))


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.7")
@pytest.mark.mutant("it takes what splice took for all", faulty("tee_file", "SHORT_SPLICE"))
def test_tee_waits_for_a_slow_reader(lab: Lab, tmp_path: Path) -> None:
    """A pipe that is nearly full takes less than it is offered; the rest has to be offered again."""
    copy, given, taken = tmp_path / "copy", tmp_path / "given", tmp_path / "taken"
    given.write_bytes(DATA)
    script = f'"$0" --file {copy} < {given} | dd bs=1000 status=none of={taken}'
    lab["right"].run("sh", "-c", script, lab.program("tee_file")).check()
    assert taken.read_bytes() == DATA
    assert copy.read_bytes() == DATA


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.6")
@pytest.mark.mutant("it takes what splice took for all", faulty("echo_splice", "SHORT_SPLICE"))
def test_a_flood_that_is_not_read_stops_and_comes_back_whole(lab: Lab) -> None:
    """The socket takes a part of what the pipe holds; the rest waits there, and nothing more is read meanwhile.

    So the client's own writes come to a stop, and the server needs no memory for what nobody reads.
    """
    data = DATA * 8
    right = lab["right"]
    with right.deploy("echo_splice", port=PORT), lab["left"].connect(right.address(), PORT) as client:
        sent = tcp.send_until_stalled(client, data)
        assert sent < len(data)
        client.shutdown(socket.SHUT_WR)
        assert tcp.read_to_any_end(client, PATIENCE) == data[:sent]


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.6")
@pytest.mark.mutant("it takes the limit for an error", faulty("echo_splice", "DIES_WHEN_FULL"))
def test_at_the_limit_of_descriptors_clients_wait_and_nothing_is_lost(lab: Lab) -> None:
    """Who cannot be given a pipe is not accepted, and waits in the backlog until somebody goes.

    The listening socket stays readable all that time; a server that goes on asking for it burns its processor.
    """
    left, right = lab["left"], lab["right"]
    with right.start("prlimit", "--nofile=20", lab.program("echo_splice"), "--port", str(PORT)) as server:
        right.wait_listening(PORT, server)
        proc.pause(right, server)  # so that they are all there at once
        clients = [left.connect(right.address(), PORT) for _ in range(10)]
        for number, client in enumerate(clients):
            client.sendall(b"client %d" % number)
        server.signal(signal.SIGCONT)
        assert comes_true(lambda: accepted(right) == 4)
        with watched(right, server, "accept4", "epoll_wait") as calls:
            began = time.monotonic()
            wait_until(lambda: len(calls.names()) >= 6, timeout=PATIENCE, what="the server to look again")
            seconds = time.monotonic() - began
        assert len(calls.names()) < 100 * (1 + seconds)
        for number, client in enumerate(clients):
            client.shutdown(socket.SHUT_WR)
            assert tcp.read_to_any_end(client, PATIENCE) == b"client %d" % number
            client.close()
        assert server.exit_code is None


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.6")
@pytest.mark.mutant("it forgets to close a pipe", faulty("echo_splice", "LEAKS_PIPE"))
def test_a_reset_in_the_middle_of_an_echo_frees_socket_and_pipe(lab: Lab) -> None:
    """A client that goes with its data unread leaves nothing behind in the server, and the next one is served."""
    right = lab["right"]
    with right.deploy("echo_splice", port=PORT) as server:
        before = len(proc.descriptors(right, server.pid))
        for _ in range(3):
            client = lab["left"].connect(right.address(), PORT)
            tcp.send_until_stalled(client, DATA * 8)
            tcp.reset(client)
        with lab["left"].connect(right.address(), PORT) as client:
            assert tcp.converse(client, b"still there") == b"still there"
        assert comes_true(lambda: len(proc.descriptors(right, server.pid)) == before)


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.6")
@pytest.mark.mutant("it waits for ever", faulty("echo_splice", "IDLE_NEVER"))
def test_a_client_that_is_silent_for_too_long_is_closed(lab: Lab) -> None:
    """A connection costs the server descriptors, whether anything comes over it or not."""
    right = lab["right"]
    with (
        right.deploy("echo_splice", "--idle-timeout", "0.5", port=PORT),
        lab["left"].connect(right.address(), PORT) as silent,
    ):
        silent.sendall(b"last words")
        assert tcp.read_to_any_end(silent, PATIENCE) == b"last words"
