"""Echo servers beside socat and ncat, which start a process for each connection: same lab, same client, in turns."""

from __future__ import annotations

import statistics
import sys

import pytest

from lab.running import Lab
from tests.service_labs import BringUp, bring_up

__all__ = ["bring_up"]

pytestmark = pytest.mark.bench

ROUNDS = 5
OURS = {"echo_epoll": 7001, "echo_splice": 7002}
THEIRS = {"socat": 7011, "ncat": 7012}
SERVERS = {**OURS, **THEIRS}

TEXT = """
name: echoes
networks: {lan: }
nodes:
  left: {networks: {lan: }}
  right: {networks: {lan: }}
"""


@pytest.fixture
def lab(bring_up: BringUp) -> Lab:
    """A lab in which all of the servers run."""
    lab = bring_up(TEXT)
    right = lab["right"]
    for name, port in OURS.items():
        right.deploy(name, port=port)
    socat, ncat = THEIRS.values()
    right.start("socat", f"TCP-LISTEN:{socat},fork,reuseaddr,backlog=128", "PIPE")
    right.start("ncat", "-4", "-l", "-k", str(ncat), "-e", "/bin/cat")
    for port in THEIRS.values():
        right.wait_listening(port)
    return lab


# It runs in the node, as making sockets there from here takes longer than what is measured.
CLIENT = """
import socket, sys, time

def connect():
    connection = socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection

def exchange(connection, data):
    connection.sendall(data)
    left = len(data)
    while left:
        left -= len(connection.recv(left))

def connections(count=200):
    for _ in range(count):
        with connect() as connection:
            exchange(connection, b"x")
    return count

def messages(count=2000):
    with connect() as connection:
        for _ in range(count):
            exchange(connection, bytes(1024))
    return count

begin = time.monotonic()
print(globals()[sys.argv[1]]() / (time.monotonic() - begin))
"""


def measured(lab: Lab, what: str, port: int) -> float:
    """How many connections (a byte there and back) or messages (1 KB there and back) a second."""
    client = lab["left"].run("python3", "-c", CLIENT, what, lab["right"].address(), str(port), timeout=60)
    return float(client.check().stdout)


@pytest.mark.parametrize(
    ("what", "least", "others"),
    [
        ("connections", 3.0, ("socat", "ncat")),
        # ncat gives the socket itself to cat, which waits in read(2) for it alone: it is shown, but no match for a
        # server of many connections.
        # socat is about as fast as echo_splice, once it has its process.
        ("messages", 0.7, ("socat",)),
    ],
)
def test_echo_servers_are_faster_than_socat_and_ncat(
    lab: Lab, capsys: pytest.CaptureFixture[str], what: str, least: float, others: tuple[str, ...]
) -> None:
    rounds = [{name: measured(lab, what, port) for name, port in SERVERS.items()} for _ in range(ROUNDS)]
    found = {name: statistics.median(one[name] for one in rounds) for name in SERVERS}
    with capsys.disabled():
        sys.stdout.write(f"\n{what}/s: " + ", ".join(f"{name} {value:.0f}" for name, value in found.items()) + "\n")
    for name in OURS:
        for other in others:
            assert statistics.median(one[name] / one[other] for one in rounds) >= least, (name, other)
