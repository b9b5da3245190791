"""What a link of given figures shows on the wire, however it is made: the bounds within which all ways agree.

A frame is never early. It may be late by what the machine takes to wake a process up, and the tests also run on an
emulated machine, so upper bounds are wide; `test_link_bench` has the narrow ones.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from itertools import pairwise

import pytest

from lab.link.mechanism import Mechanism
from lab.pytest_plugin import Labs
from tests.link_labs import (
    ALL,
    DELAYING,
    LIMITING,
    Arrival,
    kinds,
    netem_takes_a_seed,
    pair,
    pair_by,
    ping_delays,
    send_numbered,
    send_while_impaired,
)

pytestmark = pytest.mark.stock_kernel

CLOCK = 0.0002  # seconds by which two readings of the kernel's clock may differ
LATE = 0.05  # seconds
FRAME = 8000  # bits of the datagrams that are sent
MUST_HAVE = "LAB_TESTS_QUEUEING"  # in the environment: kinds of queueing, as script/test-stock-kernel has them
RATE = 500_000  # bits a second: a frame each 16 ms, which a slow machine also sends faster


def is_rate(arrivals: list[Arrival], *, faster: float, slower: float) -> bool:
    """Whether frames arrive at RATE, but for these parts of it: never faster on the whole, and not slower as a rule.

    A machine that is kept from it for a while sends later, and does not make up for it.
    """
    times = [one.arrived for one in arrivals]
    on_the_whole = (len(times) - 1) * FRAME / (times[-1] - times[0])
    as_a_rule = FRAME / statistics.median(later - one for one, later in pairwise(times))
    return on_the_whole < RATE * (1 + faster) and as_a_rule > RATE * (1 - slower)


def as_a_rule(delays: list[float]) -> float:
    """What 19 in 20 are below: a machine that is kept from it for a while is late with all that is due meanwhile."""
    return statistics.quantiles(delays, n=20)[-1]


@pytest.mark.skipif(MUST_HAVE not in os.environ, reason=f"{MUST_HAVE} is set where a kernel must have certain queueing")
def test_this_kernel_has_the_queueing_that_it_is_tested_for() -> None:
    """Where it is missing all tests of it skip, and nobody would notice."""
    assert set(os.environ[MUST_HAVE].split()) <= kinds()


@pytest.mark.parametrize("how", DELAYING)
def test_a_delay_is_the_same_on_every_mechanism(labs: Labs, how: Mechanism) -> None:
    with pair_by(labs, how, "delay: 60ms") as lab:
        delays, round_trips = ping_delays(lab, 15)
    assert min(delays) >= 0.06 - CLOCK
    assert statistics.median(delays) < 0.06 + LATE
    assert 0.12 - CLOCK <= statistics.median(round_trips) < 0.12 + 2 * LATE


@pytest.mark.parametrize("how", DELAYING)
def test_each_direction_has_a_delay_of_its_own(labs: Labs, how: Mechanism) -> None:
    with pair_by(labs, how, "out: {delay: 80ms}, in: {delay: 20ms}") as lab:
        delays, round_trips = ping_delays(lab, 5)
    assert min(delays) >= 0.08 - CLOCK
    assert 0.1 - CLOCK <= statistics.median(round_trips) < 0.1 + 2 * LATE


@pytest.mark.parametrize("how", LIMITING)
def test_a_rate_is_the_same_on_every_mechanism(labs: Labs, how: Mechanism) -> None:
    """100 frames of 1000 bytes at 500 kbit/s take 1.6 s; the kernel lets two of the largest pass at once."""
    with pair_by(labs, how, "rate: 500kbit, queue: 200kB") as lab:
        arrivals = send_numbered(lab, 100)
    assert len(arrivals) == 100
    assert is_rate(arrivals, faster=0.06, slower=0.1)


@pytest.mark.parametrize("how", LIMITING)
def test_a_queue_has_room_for_what_is_said_and_loses_the_rest(labs: Labs, how: Mechanism) -> None:
    """20 kB of 1000-byte frames wait; at 1 Mbit/s a frame is sent each 8 ms, and the burst comes much faster."""
    with pair_by(labs, how, "rate: 1mbit, queue: 20kB") as lab:
        arrivals = send_numbered(lab, 200)
    sending = max(one.sent for one in arrivals) - min(one.sent for one in arrivals)
    meanwhile = sending / 0.008
    assert 20 <= len(arrivals) <= 20 + 4 + meanwhile + 1
    assert [one.number for one in arrivals[:20]] == list(range(20))
    assert max(one.arrived - one.sent for one in arrivals) < 0.16 + 0.024 + LATE


@pytest.mark.parametrize("how", DELAYING)
def test_a_loss_is_the_same_on_every_mechanism(labs: Labs, how: Mechanism) -> None:
    """Of 500 frames 150 are lost, and the chance of 51 more or fewer is one in a million."""
    with pair_by(labs, how, "out: {loss: 30%}") as lab:
        arrivals = send_numbered(lab, 500)
    assert 299 <= len(arrivals) <= 401


@pytest.mark.parametrize("how", DELAYING)
def test_the_same_seed_loses_the_same_frames_on_every_mechanism(labs: Labs, how: Mechanism) -> None:
    """That 100 frames fare alike by chance is as likely as heads 50 times in a row."""

    def arrived(seed: int) -> list[int]:
        with pair_by(labs, how, "delay: 1ms", seed=seed) as lab:
            trace = send_while_impaired(lab, 100, {"loss": "50%"})
        udp = trace.where(lambda packet: packet.udp is not None)
        return [int.from_bytes(packet.payload[:4], "big") for packet in udp]

    if how == "netem" and how in kinds() and not netem_takes_a_seed():
        pytest.skip("this kernel's netem draws from no seed that one says")
    first = arrived(seed=3)
    assert 20 <= len(first) <= 80
    assert first == arrived(seed=3)
    assert first != arrived(seed=4)


@pytest.mark.parametrize("how", DELAYING)
def test_jitter_spreads_delays_evenly_and_no_further_than_it_says(labs: Labs, how: Mechanism) -> None:
    """Of 600 frames 150 are in each quarter of what there is, and the chance of 59 fewer is one in ten millions."""
    with pair_by(labs, how, "out: {delay: 250ms, jitter: 200ms}") as lab:
        arrivals = send_numbered(lab, 600, longest=0.45)
    assert len(arrivals) == 600
    delays = [one.arrived - one.sent for one in arrivals]
    assert min(delays) >= 0.05 - CLOCK
    assert as_a_rule(delays) < 0.45 + LATE
    quarters = Counter(min(3, int((delay - 0.05) / 0.1)) for delay in delays)
    assert min(quarters[number] for number in range(4)) > 91


@pytest.mark.parametrize("how", DELAYING)
def test_frames_that_reorder_picks_overtake_and_the_others_do_not(labs: Labs, how: Mechanism) -> None:
    """Of 400 frames 100 are not delayed, and the chance of 48 more or fewer is one in ten millions.

    Three in four of those follow one that is delayed, which they overtake.
    """
    with pair_by(labs, how, "out: {delay: 500ms, reorder: 25%}") as lab:
        arrivals = send_numbered(lab, 400, longest=0.5)
    assert len(arrivals) == 400
    delays = [one.arrived - one.sent for one in arrivals]
    picked, others = [delay for delay in delays if delay < 0.25], [delay for delay in delays if delay >= 0.25]
    assert 52 <= len(picked) <= 148
    assert as_a_rule(picked) < LATE
    assert min(others) >= 0.5 - CLOCK
    assert as_a_rule(others) < 0.5 + LATE
    assert 30 <= sum(later.arrived < one.arrived for one, later in pairwise(arrivals)) <= 120


@pytest.mark.parametrize("how", DELAYING)
def test_delay_and_rate_go_together(labs: Labs, how: Mechanism) -> None:
    with pair_by(labs, how, "delay: 50ms, rate: 500kbit, queue: 200kB") as lab:
        arrivals = send_numbered(lab, 50)
    assert min(one.arrived - one.sent for one in arrivals) >= 0.05 - CLOCK
    assert is_rate(arrivals, faster=0.12, slower=0.12)


@pytest.mark.parametrize("how", DELAYING)
def test_a_frame_may_come_twice(labs: Labs, how: Mechanism) -> None:
    with pair_by(labs, how, "out: {duplicate: 100%}") as lab:
        a, b = lab["a"], lab["b"]
        with b.capture("eth0") as capture:
            assert a.ping(b.address(), timeout=5.0).received == 1
        requests = capture.trace.where(lambda packet: bool(packet.icmp) and packet.direction == "in")
    assert len(requests) == 2


@pytest.mark.parametrize("how", DELAYING)
def test_a_corrupted_frame_has_a_wrong_checksum(labs: Labs, how: Mechanism) -> None:
    """With netem it may be a bit of the Ethernet header, which no checksum of the packet tells: 14 bytes of 1000."""
    with pair_by(labs, how, "delay: 1ms") as lab:
        arrived = send_while_impaired(lab, 50, {"corrupt": "100%"})
    assert 40 <= len(arrived.where(lambda packet: packet.checksum_ok is False)) <= 50


@pytest.mark.parametrize("how", ALL)
def test_what_happens_on_a_link_can_be_changed_while_it_runs(labs: Labs, how: Mechanism) -> None:
    link = {"wire": "delay: 1ms", "tbf": "rate: 1gbit", "netem": "delay: 1ms"}[how]
    with pair_by(labs, how, link) as lab:
        lab["a"].impair(rate="500kbit", queue="200kB")
        arrivals = send_numbered(lab, 50)
        assert is_rate(arrivals, faster=0.12, slower=0.12)
        lab["a"].impair()
        arrivals = send_numbered(lab, 50)
    assert max(one.arrived - one.sent for one in arrivals) < LATE


def test_a_plain_link_can_be_impaired_while_it_runs_where_the_kernel_can(labs: Labs) -> None:
    with pair_by(labs, "tbf", "rate: 1gbit"), pair(labs, "") as lab:
        before = lab["a"].ping(lab["b"].address(), timeout=5.0)
        lab["a"].impair(rate="500kbit", queue="200kB")
        arrivals = send_numbered(lab, 50)
    assert before.received == 1
    assert is_rate(arrivals, faster=0.12, slower=0.12)
