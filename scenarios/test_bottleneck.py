"""A bottleneck: what cannot be sent at once waits, and what finds the queue full is lost.

sender1, sender2 ── left ── router1 ══ 10 Mbit/s, 45 kB, 10 ms ══ router2 ── right ── receiver1, receiver2

A link is a bottleneck only to those who send faster. For bursts it carries 1 Mbit/s here: 10 Mbit/s are a datagram
each 1.2 ms, which a slow machine needs to send one.
"""

import socket
from typing import Any

import pytest

from lab.running import Lab
from lab.trace.trace import Trace
from lab.wait import wait_until

DATAGRAMS, SIZE = 400, 1400
HEADERS = 14 + 20 + 8  # bytes: Ethernet, IPv4, UDP
RATE, QUEUE = 1_000_000, 45_000


def burst(lab: Lab) -> Trace:
    """Datagrams from sender1 as fast as it can, numbered, as receiver1's wire saw those that came through."""
    sender, receiver = lab["sender1"], lab["receiver1"]
    lab["router1"].impair("bottleneck", rate=f"{RATE // 1000}kbit", queue=f"{QUEUE // 1000}kB", delay="10ms")
    # Hardware addresses are known from here on: a host keeps but a few packets while it asks for one.
    assert sender.ping(receiver.address()).received == 1
    with receiver.capture() as capture:
        with sender.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            for number in range(DATAGRAMS):
                channel.sendto(number.to_bytes(2) + bytes(SIZE - 2), (receiver.address(), 9))
        # It has all of them before it in the queue: when it comes back, none is on its way any more.
        wait_until(lambda: sender.ping(receiver.address()).received == 1, timeout=10, what="room in the queue")
    return capture.trace.where(lambda packet: packet.udp is not None)


def without_rate(lab: Lab) -> None:
    """The bottleneck has its delay alone, whatever rate it is told to have."""
    impair = lab["router1"].impair

    def impair_otherwise(network: str, **settings: Any) -> None:
        impair(network, delay=settings["delay"])

    lab["router1"].impair = impair_otherwise  # type: ignore[method-assign, assignment]


@pytest.mark.topology("dumbbell.yaml")
@pytest.mark.mutant("there is no bottleneck", without_rate)
def test_what_finds_the_queue_full_is_lost(lab: Lab) -> None:
    """A burst fills the queue; from then on only as much gets in as goes out, and the order stays."""
    numbers = [int.from_bytes(packet.payload[:2]) for packet in burst(lab)]

    fits = QUEUE // (SIZE + HEADERS)
    assert fits <= len(numbers) < DATAGRAMS
    assert numbers[:fits] == list(range(fits))
    assert numbers == sorted(set(numbers))


@pytest.mark.topology("dumbbell.yaml")
@pytest.mark.mutant("there is no bottleneck", without_rate)
def test_what_comes_through_comes_no_faster_than_the_bottleneck_lets_it(lab: Lab) -> None:
    """However fast they were sent, the datagrams arrive one after the other at the bottleneck's rate."""
    trace = burst(lab)

    bits = 8 * (SIZE + HEADERS) * (len(trace) - 1)
    seconds = (trace[-1].time_ns - trace[0].time_ns) / 1e9
    assert bits / seconds <= 1.05 * RATE


@pytest.mark.topology("dumbbell.yaml")
@pytest.mark.mutant("the link is short", lambda lab: lab["router1"].impair("bottleneck", rate="10mbit"))
def test_the_way_there_and_back_takes_twice_the_links_delay(lab: Lab) -> None:
    """10 ms each way; what passes elsewhere is not slowed down."""
    pings = lab["sender1"].ping(lab["receiver1"].address(), count=5)
    assert all(echo.round_trip is not None and echo.round_trip >= 0.02 for echo in pings.echoes)
