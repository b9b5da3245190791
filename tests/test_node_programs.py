"""Programs and sockets of a node: deployed servers, the kernel's table, connections."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lab import servers
from lab.errors import CommandError, MissingToolError, WaitTimeoutError
from lab.mutants import faulty
from lab.running import Lab
from lab.wait import wait_until

pytestmark = pytest.mark.topology("two-hosts.yaml", reuse=True)

PORT = 7


def test_a_deployed_server_listens_when_the_call_returns(lab: Lab) -> None:
    right = lab["right"]
    with right.deploy("echo_poll", port=PORT), lab["left"].connect(right.address(), PORT) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
    assert not any(one.state == "LISTEN" for one in right.sockets())


def test_a_connection_may_have_little_room_for_what_arrives(lab: Lab) -> None:
    """The kernel doubles what it is asked for, to have room for its own (socket(7))."""
    right = lab["right"]
    with (
        right.deploy("echo_poll", port=PORT),
        lab["left"].connect(right.address(), PORT, receive_buffer=5000) as client,
    ):
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 10_000
        assert client.gettimeout() == 5.0


def test_a_server_that_ends_instead_of_listening_says_why(lab: Lab) -> None:
    with (
        lab["right"].deploy("echo_poll", port=PORT),
        pytest.raises(CommandError, match=r"right: .*echo_poll .* ended with 2 instead of listening: .* no whole"),
    ):
        lab["right"].deploy("echo_poll", "--backlog", "many", port=PORT + 1)


def test_waiting_for_what_does_not_listen_ends(lab: Lab) -> None:
    with pytest.raises(WaitTimeoutError, match="right to listen on port 7"):
        lab["right"].wait_listening(PORT, timeout=0.05)


def test_a_program_that_is_not_built_says_how_to_build_it(lab: Lab) -> None:
    with pytest.raises(MissingToolError, match=r"no_such is not built: there is no \S+/no_such; lab build makes it"):
        lab.program("no_such")


@pytest.mark.topology("two-hosts.yaml")
def test_a_mutant_takes_the_faulty_variant(lab: Lab) -> None:
    right = Path(lab.program("echo_poll"))
    faulty("echo_poll", "SHORT_WRITE")(lab)
    variant = Path(lab.program("echo_poll"))
    assert variant.parts[-2:] == ("SHORT_WRITE", "echo_poll")
    assert variant.read_bytes() != right.read_bytes()


def test_the_preset_is_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "build" / "dev" / "bin" / "one"
    program.parent.mkdir(parents=True)
    program.touch()
    monkeypatch.setattr(servers, "SOURCES", tmp_path)
    monkeypatch.setenv("LAB_SERVERS", "dev")
    assert servers.program("one") == str(program)


@pytest.mark.topology("two-hosts.yaml")
def test_the_socket_table_has_the_timers(lab: Lab) -> None:
    """Of a SYN that nobody answers, and of who closed first."""
    left, right = lab["left"], lab["right"]
    with left.socket(socket.AF_INET, socket.SOCK_STREAM) as channel:
        channel.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        with pytest.raises(BlockingIOError):
            channel.connect(("10.0.1.99", 80))
        (asking,) = [one for one in left.sockets() if one.state == "SYN_SENT"]
        assert (asking.timer, asking.tries) == ("retransmit", 0)
        assert 0 < asking.expires_ms <= 1100

    with right.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((right.address(), 80))
        listener.listen()
        client = left.connect(right.address(), 80)
        server, _ = listener.accept()
        client.close()
        assert server.recv(1) == b""
        server.close()
    wait_until(lambda: any(one.state == "TIME_WAIT" for one in left.sockets()), timeout=5, what="TIME_WAIT")
    (waiting,) = [one for one in left.sockets() if one.state == "TIME_WAIT"]
    assert waiting.timer == "time-wait"
    assert 50_000 < waiting.expires_ms <= 60_000


def test_a_connection_that_is_refused_leaves_no_socket(lab: Lab) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ConnectionRefusedError):
        lab["left"].connect(lab["right"].address(), 9)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
