"""Labs with impaired links, and what the tests of links measure in them."""

from __future__ import annotations

import socket
import sys
import time
import uuid
from collections.abc import Callable, Mapping
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
from lab.trace.trace import Trace

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

# What the kernel knows of a queueing discipline, it tells again; a seed like no other number in its answer.
_LOOK_FOR_SEED = """
import struct
from lab.doctor import arena
from lab.link import qdisc
from lab.netlink import rtnetlink
from lab.netlink.namespaces import Clone
from lab.plan.model import Impairment
SEED = 0x5EED0123456789AB
arena.enter(Clone.NET)
channel = rtnetlink.open_socket()
qdisc.put_on(channel, rtnetlink.LOOPBACK_INDEX, Impairment(delay_us=1), largest=2000, seed=SEED, netem=True)
GET_QDISCS, REQUEST_ALL = 38, 0x301
channel.sendall(struct.pack("=IHHIIBxxxiIII", 36, GET_QDISCS, REQUEST_ALL, 0, 0, 0, 0, 0, 0, 0))
print(struct.pack("=Q", SEED) in channel.recv(1 << 16))
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
    chosen = mechanism(planned.nodes[0].interfaces[0], kinds())
    if chosen != how:
        pytest.skip(f"on this kernel ({', '.join(sorted(kinds())) or 'neither netem nor tbf'}) it is a {chosen}")
    return pair(labs, settings, seed=seed)


@cache
def kinds() -> frozenset[qdisc.Kind]:
    """What this kernel has, tried in a network namespace of a process of its own."""
    printed = output_of([sys.executable, "-c", _LOOK], timeout=_SLOW)
    return frozenset(kind for kind in qdisc.KINDS if kind in printed.split())


@cache
def netem_takes_a_seed() -> bool:
    """Whether this kernel's netem draws from a seed that one says, tried likewise; only where there is netem."""
    return output_of([sys.executable, "-c", _LOOK_FOR_SEED], timeout=_SLOW) == "True\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A datagram as the other end saw it; times in seconds on one clock."""

    number: int
    sent: float
    arrived: float


def send_numbered(
    lab: Lab,
    count: int,
    *,
    size: int = 1000,
    pause: Callable[[], None] = lambda: None,
    longest: float = 0.0,
) -> list[Arrival]:
    """Send datagrams of `size` bytes in Ethernet from a to b, and return those that both ends have seen.

    Both wires are captured, so that what is measured is the link and not the programs at its ends.

    Args:
        longest: as of `wait_for_the_last`.
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
        wait_for_the_last(lab, longest=longest)
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


def send_while_impaired(lab: Lab, count: int, out: Mapping[str, str]) -> Trace:
    """Send numbered datagrams on a link that does this to them and to nothing else, and return what arrives."""
    a, b = lab["a"], lab["b"]
    wait_for_the_last(lab)
    with b.capture("eth0") as capture, a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        a.impair(out=out)
        for number in range(count):
            sender.sendto(number.to_bytes(4, "big").ljust(958, b"\0"), (b.address(), PORT))
        a.impair(delay="1ms")  # and what is under way stays so
        wait_for_the_last(lab)
    return capture.trace


def wait_for_the_last(lab: Lab, *, longest: float = 0.0) -> None:
    """Return when what was sent has arrived: a ping takes the same way, and some get through in the end.

    Args:
        longest: seconds that a frame is on its way, where a later one may overtake it before.
    """
    due = time.monotonic() + longest
    for _attempt in range(20):
        overtakes_none = time.monotonic() >= due
        if lab["a"].ping(lab["b"].address(), timeout=2.0).received and overtakes_none:
            return
    pytest.fail("nothing passes at all")
