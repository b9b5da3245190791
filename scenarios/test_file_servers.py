"""Servers that send a file: all of it arrives, whatever its size and whatever the client does (the book's 6.3 and 6.4).

left (client) ── lan ── right (server)
"""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.mutants import faulty
from lab.probes import tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import wait_until

PORT = 8080
BIG = bytes(range(256)) * 20_480  # 5 MB
PATIENCE = 5.0  # seconds without a byte, after which no more is expected


def deploy(lab: Lab, program: str, folder: Path, content: bytes) -> Process:
    """A server of one file."""
    (folder / "index.html").write_bytes(content)
    return lab["right"].deploy(program, "--root", str(folder), port=PORT)


def each_server(lab: Lab, folder: Path, content: bytes) -> Iterator[tuple[Process, bytes]]:
    """Each of the two servers for the while of a round, and what its clients are to get."""
    header = f"HTTP/1.0 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    for program, whole in (("file_writev", header + content), ("file_sendfile", content)):
        with deploy(lab, program, folder, content) as server:
            yield server, whole


def connect(lab: Lab, receive_buffer: int = 0) -> socket.socket:
    """A connection; with a small receive buffer, most of what is on its way waits at the server."""
    return lab["left"].connect(lab["right"].address(), PORT, PATIENCE, receive_buffer=receive_buffer)


def await_stall(lab: Lab, client: socket.socket, *states: str) -> None:
    """Return once the server has sent all that the client's window lets it, in one of these states."""

    def has_filled_it() -> bool:
        ours = [one for one in lab["right"].sockets() if one.remote == client.getsockname()]
        return bool(ours) and ours[0].state in states and ours[0].send_queue > 0

    wait_until(has_filled_it, timeout=10, what="the server to send more than the client takes")


def await_end(lab: Lab, server: Process) -> None:
    """Return once the server has no client any more, or has ended."""

    def has_none() -> bool:
        return not any(one.state in ("ESTABLISHED", "CLOSE_WAIT") for one in lab["right"].sockets())

    wait_until(lambda: server.exit_code is not None or has_none(), timeout=10, what="the server to notice")


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.3")
@pytest.mark.mutant("it takes what writev took for all", faulty("file_writev", "PARTIAL_WRITEV"))
@pytest.mark.mutant("it closes with a reset", faulty("file_sendfile", "LINGER_ZERO"))
def test_a_big_file_arrives_whole_at_a_client_that_reads_late(lab: Lab, tmp_path: Path) -> None:
    """Buffers on the way hold less than the file, so the system call takes a part of it only, time and again.

    What it has taken is not delivered yet when the server closes: that is the kernel's to do, unless it is told to
    throw it away (SO_LINGER of 0 s).
    """
    for _server, whole in each_server(lab, tmp_path, BIG):
        with connect(lab, receive_buffer=65_536) as client:
            await_stall(lab, client, "ESTABLISHED", "FIN_WAIT1")
            assert tcp.read_to_any_end(client, PATIENCE) == whole


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.4")
@pytest.mark.mutant("it closes with a reset", faulty("file_sendfile", "LINGER_ZERO"))
def test_a_client_that_has_asked_for_something_gets_the_whole_file_too(lab: Lab, tmp_path: Path) -> None:
    """Neither server reads the request; but a socket that is closed with something unread in it sends a reset.

    That destroys what has not arrived yet. So a server ends its side first (FIN), and closes when the client has too.
    """
    for _server, whole in each_server(lab, tmp_path, BIG):
        with connect(lab, receive_buffer=65_536) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: right\r\n\r\n" * 100)
            await_stall(lab, client, "ESTABLISHED", "FIN_WAIT1")
            assert tcp.read_to_any_end(client, PATIENCE) == whole


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.3")
@pytest.mark.mutant("it says nothing", faulty("file_writev", "EMPTY_FILE"))
def test_an_empty_file_is_answered(lab: Lab, tmp_path: Path) -> None:
    """There is nothing to map into memory and nothing to send, but the client waits for an answer all the same."""
    for _server, whole in each_server(lab, tmp_path, b""):
        with connect(lab) as client:
            assert tcp.read_to_any_end(client, PATIENCE) == whole


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.3")
@pytest.mark.mutant("it goes on without the file", faulty("file_writev", "MISSING_RETURN"))
def test_a_file_that_is_not_there_costs_an_answer_and_not_the_server(lab: Lab, tmp_path: Path) -> None:
    """The next client, for whom there is a file again, gets it."""
    with deploy(lab, "file_writev", tmp_path, b"here"):
        (tmp_path / "index.html").unlink()
        with connect(lab) as client:
            assert tcp.read_to_any_end(client, PATIENCE) == b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        (tmp_path / "index.html").mkdir()
        with connect(lab) as client:
            assert tcp.read_to_any_end(client, PATIENCE) == b"HTTP/1.0 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        (tmp_path / "index.html").rmdir()
        (tmp_path / "index.html").write_bytes(b"again")
        with connect(lab) as client:
            assert tcp.read_to_any_end(client, PATIENCE).endswith(b"\r\n\r\nagain")


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.3")
@pytest.mark.mutant("it takes what writev took for all", faulty("file_writev", "PARTIAL_WRITEV"))
def test_a_file_that_shrinks_while_it_is_sent_costs_one_answer(lab: Lab, tmp_path: Path) -> None:
    """Its end is not there any more: for writev a place without memory (EFAULT), for sendfile the end of the file.

    The client can tell by the Content-Length that something is missing. The server must not wait for bytes that will
    never be there, and not die of SIGBUS.
    """
    for server, whole in each_server(lab, tmp_path, BIG):
        with connect(lab, receive_buffer=65_536) as client:
            await_stall(lab, client, "ESTABLISHED", "FIN_WAIT1")
            os.truncate(tmp_path / "index.html", 4096)
            assert len(tcp.read_to_any_end(client, PATIENCE)) < len(whole)
        (tmp_path / "index.html").write_bytes(BIG)
        with connect(lab) as client:
            assert tcp.read_to_any_end(client, PATIENCE) == whole
        assert server.stop().exit_code == 0


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.4")
@pytest.mark.mutant("it waits for the one whom it serves", faulty("file_sendfile", "BLOCKS"))
def test_clients_that_do_not_read_hold_nobody_up(lab: Lab, tmp_path: Path) -> None:
    """A socket that does not block takes what there is room for; then it is the next one's turn."""
    for _server, whole in each_server(lab, tmp_path, BIG):
        with ExitStack() as stack:
            silent = [stack.enter_context(connect(lab, receive_buffer=4096)) for _ in range(20)]
            await_stall(lab, silent[0], "ESTABLISHED")
            with connect(lab) as client:
                assert tcp.read_to_any_end(client, PATIENCE) == whole


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.4")
@pytest.mark.mutant("it dies of SIGPIPE", faulty("file_writev", "SIGPIPE"))
def test_a_reset_in_the_middle_of_the_file_costs_that_client_only(lab: Lab, tmp_path: Path) -> None:
    """After FIN and reset of the client, the next write is EPIPE, and the signal that comes with it kills by default.

    A reset without a FIN before it is ECONNRESET, and no signal.
    """
    for server, whole in each_server(lab, tmp_path, BIG):
        for ends_first in (False, True):
            with connect(lab, receive_buffer=4096) as client:
                if ends_first:
                    client.shutdown(socket.SHUT_WR)
                await_stall(lab, client, "CLOSE_WAIT" if ends_first else "ESTABLISHED")
                tcp.reset(client)
        await_end(lab, server)
        assert server.exit_code is None
        with connect(lab) as client:
            assert tcp.read_to_any_end(client, PATIENCE) == whole


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("6.4")
@pytest.mark.mutant("it closes with a reset", faulty("file_sendfile", "LINGER_ZERO"))
def test_a_server_that_is_told_to_end_sends_what_it_has_begun(lab: Lab, tmp_path: Path) -> None:
    """After SIGTERM nobody is accepted any more, and the server ends with the last file that is on its way."""
    for server, whole in each_server(lab, tmp_path, BIG):
        with connect(lab, receive_buffer=65_536) as client:
            await_stall(lab, client, "ESTABLISHED", "FIN_WAIT1")
            server.signal(signal.SIGTERM)
            assert tcp.read_to_any_end(client, PATIENCE) == whole
        assert server.wait().exit_code == 0
