"""Labs with impaired links, and what the tests of links measure in them."""

from __future__ import annotations

import socket
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest

from lab.command import output_of
from lab.link import qdisc
from lab.link.mechanism import Mechanism, mechanism
from lab.load import loads
from lab.plan.planner import plan
from lab.pytest_plugin import Labs
from lab.running import Lab

ALL: tuple[Mechanism, ...] = ("wire", "tbf", "netem")
DELAYING: tuple[Mechanism, ...] = ("wire", "netem")
LIMITING: tuple[Mechanism, ...] = ("wire", "tbf")  # netem takes a rate along, but nobody asks it for that alone
PORT = 4000
ECHO_REQUEST = 8
_SLOW = 120.0  # seconds that a program may take to start on an emulated machine

_LOOK = """
from lab.doctor import arena
from lab.command import output_of
from lab.link import qdisc
from lab.netlink import rtnetlink
from lab.netlink.namespaces import Clone
arena.enter(Clone.NET)
print(*qdisc.known(rtnetlink.open_socket()))
"""

PAIR = """
name: links
networks: {{lan: }}
seed: {seed}
nodes:
  a: {{networks: {{lan: {{{link}}}}}}}
  b: {{networks: {{lan: }}}}
"""


def pair(labs: Labs, link: str, *, seed: int = 1) -> Lab:
    """Bring up two hosts, the first with these settings of its interface."""
    planned = plan(loads(PAIR.format(link=link, seed=seed)))
    own_name = replace(planned, name=f"links-{uuid.uuid4().hex[:8]}")
    return Lab.up(own_name, labs.backend, shared=labs.shared_folders)


def pair_by(labs: Labs, how: Mechanism, link: str, *, seed: int = 1) -> Lab:
    """Bring up the same with the impairment made in one certain way, or skip where that cannot be."""
    settings = f"{link}, wire: true" if how == "wire" else link
    planned = plan(loads(PAIR.format(link=settings, seed=seed)))
    chosen = mechanism(planned.nodes[0].interfaces[0], _kinds())
    if chosen != how:
        pytest.skip(f"on this kernel ({', '.join(sorted(_kinds())) or 'neither netem nor tbf'}) it is a {chosen}")
    return pair(labs, settings, seed=seed)


@cache
def _kinds() -> frozenset[qdisc.Kind]:
    """What this kernel has, tried in a network namespace of a process of its own."""
    printed = output_of([sys.executable, "-c", _LOOK], timeout=_SLOW)
    return frozenset(kind for kind in qdisc.KINDS if kind in printed.split())


@dataclass(frozen=True, slots=True)
class Arrival:
    """A datagram as the other end saw it; times in seconds on one clock."""

    number: int
    sent: float
    arrived: float


def send_numbered(lab: Lab, count: int, *, size: int = 1000, pause: Callable[[], None] = lambda: None) -> list[Arrival]:
    """Send datagrams of `size` bytes in Ethernet from a to b, and return those that both ends have seen.

    Both wires are captured, so that what is measured is the link and not the programs at its ends.
    """
    a, b = lab["a"], lab["b"]
    assert any(a.ping(b.address(), timeout=5.0).received for _attempt in range(20))  # addresses are known now
    with (
        lab.capture("a:eth0", "b:eth0") as capture,
        a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        b.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("", PORT))
        for number in range(count):
            sender.sendto(number.to_bytes(4, "big").ljust(size - 42, b"\0"), (b.address(), PORT))
            pause()
        wait_for_the_last(lab)
    assert capture.trace.dropped == 0
    udp = capture.trace.where(lambda packet: packet.udp is not None)
    times = {(packet.node, int.from_bytes(packet.payload[:4], "big")): packet.time_ns / 1e9 for packet in udp}
    return [
        Arrival(number, times["a", number], times["b", number]) for number in range(count) if ("b", number) in times
    ]


def ping_delays(lab: Lab, count: int) -> tuple[list[float], list[float]]:
    """Send pings one after the other; return how long each took from end to end, and there and back, in seconds."""
    a, b = lab["a"], lab["b"]
    assert a.ping(b.address(), timeout=5.0).received == 1
    with lab.capture("a:eth0", "b:eth0") as capture:
        echoes = a.ping(b.address(), count=count, timeout=5.0).echoes
    sent, delays = {}, []
    for packet in capture.trace:
        if packet.icmp and packet.icmp.type == ECHO_REQUEST:
            if packet.node == "a":
                sent[packet.icmp.seq] = packet.time_ns
            else:
                delays.append((packet.time_ns - sent[packet.icmp.seq]) / 1e9)
    return delays, [echo.round_trip for echo in echoes if echo.round_trip is not None]


def count_corrupted(lab: Lab, count: int) -> int:
    """Send datagrams on a link that corrupts every frame, and return how many arrive with a wrong checksum."""
    a, b = lab["a"], lab["b"]
    wait_for_the_last(lab)
    with b.capture("eth0") as capture, a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        a.impair(out={"corrupt": "100%"})
        for _number in range(count):
            sender.sendto(bytes(958), (b.address(), PORT))
        a.impair()
        wait_for_the_last(lab)
    return len(capture.trace.where(lambda packet: packet.checksum_ok is False))


def wait_for_the_last(lab: Lab) -> None:
    """Return when what was sent has arrived: a ping takes the same way, and some get through in the end."""
    for _attempt in range(20):
        if lab["a"].ping(lab["b"].address(), timeout=2.0).received:
            return
    pytest.fail("nothing passes at all")
