"""Nodes that lose their power and get it back."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from lab.checks import icmp, tcp
from lab.errors import UsageError
from lab.node import Node
from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.wait import wait_until
from tests.faulty_labs import THREE, configuration, in_vain, mend, reaches, up

PORT = 7000


@pytest.fixture(scope="module")
def shared_lab(labs: Labs) -> Iterator[Lab]:
    with up(THREE, labs.backend) as made:
        yield made


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    yield shared_lab
    mend(shared_lab)


def connection(client: Node, server: Node) -> tuple[socket.socket, socket.socket]:
    """A connection of sockets that belong to the nodes, and are in our hands: (client's, server's)."""
    with server.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((server.address("lan"), PORT))
        listener.listen(1)
        ours = client.socket(socket.AF_INET, socket.SOCK_STREAM)
        ours.settimeout(5)
        ours.connect((server.address("lan"), PORT))
        theirs, _peer = listener.accept()
    theirs.settimeout(5)
    return ours, theirs


@pytest.mark.parametrize("program", ["trap '' TERM HUP INT; while :; do sleep 1; done", "kill -STOP $$", "sleep 100 &"])
def test_all_programs_of_a_killed_node_end(lab: Lab, program: str) -> None:
    """Those that ignore signals, are stopped, or have left their parents."""
    b = lab["b"]
    shell = b.start("sh", "-c", program)
    other = lab["c"].start("sleep", "100")
    wait_until(lambda: any(one["node"] == "b" for one in lab.backend.processes()), timeout=5, what="the program")

    b.kill()

    assert [one["node"] for one in lab.backend.processes()] == ["c"]
    assert shell.wait(5).exit_code in (-signal.SIGKILL, 0)
    other.stop()


def test_a_killed_node_says_nothing_to_anybody(lab: Lab) -> None:
    """No FIN, no RST, no answer: its neighbours' packets are the only ones from the moment on."""
    a, b, _c = lab
    ours, theirs = connection(a, b)
    with ours, theirs, a.capture() as capture:
        ours.send(b"hello")
        assert theirs.recv(5) == b"hello"
        b.kill()
        ours.send(b"anybody there?")
        assert in_vain(a, b)

    (killed,) = capture.trace.marks
    theirs_mac = b.interface("lan").mac
    sent = capture.trace.where(lambda packet: packet.eth is not None and packet.eth.src == theirs_mac)
    assert [packet for packet in sent if packet.time_ns > killed.time_ns] == []
    assert not capture.trace.where(tcp.is_reset)


def test_a_killed_node_runs_nothing_until_it_is_started(lab: Lab) -> None:
    b = lab["b"]
    b.kill()
    assert lab.faults().off == ("b",)
    with pytest.raises(UsageError, match='"b" is off: it was killed; "lab start b" brings it back'):
        b.start("true")
    b.boot()
    b.run("true").check()


def test_a_node_comes_back_with_the_addresses_and_routes_of_the_plan(lab: Lab) -> None:
    a, b, c = lab
    before = configuration(b)
    b.run("ip", "address", "add", "10.0.1.99/24", "dev", "eth0").check()
    b.run("ip", "route", "add", "10.9.0.0/24", "via", a.address()).check()
    b.kill()
    b.boot()
    assert configuration(b) == before
    assert reaches(a, b)
    assert reaches(a, b, version=6)
    assert reaches(b, c, "dmz")


def test_a_node_that_comes_back_resets_connections_that_it_knows_nothing_of(lab: Lab) -> None:
    a, b, _c = lab
    ours, theirs = connection(a, b)
    with ours, theirs, a.capture() as capture:
        b.kill()
        b.boot()
        ours.send(b"still there?")
        with pytest.raises(ConnectionResetError):
            ours.recv(1)

    started = capture.trace.marks[-1]
    arrived = capture.trace.where(lambda packet: packet.direction == "in" and packet.tcp is not None)
    assert [tcp.is_reset(packet) for packet in arrived] == [True]
    assert arrived[0].time_ns > started.time_ns


def test_a_capture_on_a_killed_node_goes_on_when_it_is_back(lab: Lab) -> None:
    a, b, _c = lab
    with b.capture() as capture:
        b.kill()
        b.boot()
        assert reaches(a, b)

    assert len(capture.trace.where(icmp.is_echo_request)) == 1
