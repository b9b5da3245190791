"""What a programmable wire is good for on this machine: prints its figures, and holds it to what is promised."""

from __future__ import annotations

import sys

import pytest

from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.wait import wait_until
from tests.link_labs import PORT, pair

pytestmark = pytest.mark.bench

LEAST_RATE = 300e6  # bits a second
MOST_ERROR = 0.002  # seconds, of 99 frames in 100
PINGS = 500

SINK = """
import socket
server = socket.create_server(("", {port}))
accepted, _ = server.accept()
while accepted.recv(1 << 18):
    pass
accepted.send(b".")
"""
SOURCE = """
import socket, time
connected = socket.create_connection(("{address}", {port}))
begin, sent = time.monotonic(), 0
while time.monotonic() < begin + 2:
    sent += connected.send(bytes(1 << 16))
connected.shutdown(socket.SHUT_WR)
connected.recv(1)
print(sent * 8 / (time.monotonic() - begin))
"""


def throughput(lab: Lab) -> float:
    a, b = lab["a"], lab["b"]
    with b.start("python3", "-c", SINK.format(port=PORT)):
        wait_until(lambda: f":{PORT} " in b.run("ss", "-tln").check().stdout, timeout=10.0, what="the sink to listen")
        return float(a.run("python3", "-c", SOURCE.format(address=b.address(), port=PORT)).check().stdout)


def errors(lab: Lab, delay: float) -> list[float]:
    """How much later than planned frames arrive, between the captures of both ends, in seconds and sorted."""
    a, b = lab["a"], lab["b"]
    assert a.ping(b.address(), timeout=5.0).received == 1
    with lab.capture("a:eth0", "b:eth0") as capture:
        a.ping(b.address(), count=PINGS, interval=0.002)
    sent, late = {}, []
    for packet in capture.trace:
        if packet.icmp and packet.ip:
            key = packet.ip.src, packet.icmp.seq
            if packet.direction == "out":
                sent[key] = packet.time_ns
            else:
                late.append((packet.time_ns - sent[key]) / 1e9 - delay)
    return sorted(late)


@pytest.mark.parametrize("carried_by", ["a process", "the test"])
def test_a_wire_carries_hundreds_of_megabits(labs: Labs, capsys: pytest.CaptureFixture[str], carried_by: str) -> None:
    with pair(labs, "wire: true") as lab:
        if carried_by == "the test":
            lab["a"].link()
        rate = max(throughput(lab) for _attempt in range(2))
    with capsys.disabled():
        sys.stdout.write(f"\na wire carried by {carried_by}: {rate / 1e6:.0f} Mbit/s\n")
    assert rate >= LEAST_RATE


@pytest.mark.parametrize("milliseconds", [0.5, 20])
def test_a_wire_is_punctual(labs: Labs, capsys: pytest.CaptureFixture[str], milliseconds: float) -> None:
    with pair(labs, f"wire: true, delay: {milliseconds}ms") as lab:
        late = min((errors(lab, milliseconds / 1000) for _attempt in range(2)), key=lambda found: found[-1])
    at = {share: late[int(len(late) * share / 100)] * 1000 for share in (0, 50, 99)}
    with capsys.disabled():
        told = ", ".join(f"{'min' if share == 0 else f'p{share}'} {error:.3f}" for share, error in at.items())
        sys.stdout.write(f"\na delay of {milliseconds:g} ms is late by (ms): {told}, max {late[-1] * 1000:.3f}\n")
    assert late[0] >= 0
    assert at[99] / 1000 <= MOST_ERROR
