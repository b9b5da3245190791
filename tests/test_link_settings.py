"""How impairments are written, and which mechanism they get."""

from __future__ import annotations

from typing import Any

import pytest

from lab.errors import UsageError
from lab.link.mechanism import Mechanism, mechanism
from lab.link.qdisc import Kind
from lab.load import loads
from lab.plan.impairments import from_settings
from lab.plan.model import Impairment, PlannedInterface
from lab.plan.planner import plan
from lab.spec import quantities

BOTH: frozenset[Kind] = frozenset({"netem", "tbf"})
TBF: frozenset[Kind] = frozenset({"tbf"})
NEITHER: frozenset[Kind] = frozenset()
KNOWN = "delay, jitter, rate, queue, loss, duplicate, reorder, corrupt, out and in"


def interface(link: str) -> PlannedInterface:
    text = f"name: lab\nnetworks: {{lan: }}\nnodes: {{a: {{networks: {{lan: {{{link}}}}}}}}}"
    return plan(loads(text)).nodes[0].interfaces[0]


@pytest.mark.parametrize(
    ("written", "microseconds"),
    [("10ms", 10_000), ("250us", 250), ("1s", 1_000_000), ("1.5ms", 1500), ("0s", 0), ("0.000001s", 1)],
)
def test_a_time_has_a_unit(written: str, microseconds: int) -> None:
    assert quantities.duration(written) == microseconds


@pytest.mark.parametrize(
    ("written", "bits"), [("1kbit", 1000), ("10mbit", 10_000_000), ("1.5gbit", 1_500_000_000), ("9600bit", 9600)]
)
def test_a_rate_counts_in_thousands(written: str, bits: int) -> None:
    assert quantities.rate(written) == bits


@pytest.mark.parametrize(
    ("written", "size"), [("45kB", 45_000), ("64KiB", 65_536), ("50p", 50 * 1514), ("1MiB", 1 << 20), ("9B", 9)]
)
def test_a_queue_is_bytes_or_packets(written: str, size: int) -> None:
    assert quantities.queue(written).in_bytes(1514) == size


@pytest.mark.parametrize(("written", "share"), [("1%", 0.01), (0.01, 0.01), ("100%", 1.0), (0, 0.0), ("0.5%", 0.005)])
def test_a_share_is_a_percentage_or_a_fraction(written: str | float, share: float) -> None:
    assert quantities.share(written) == share


@pytest.mark.parametrize("written", [1, 1.0, -0.1, True, "1", "101%", None])
def test_what_could_mean_another_share_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="found"):
        quantities.share(written)


def test_a_direction_takes_over_what_is_said_of_both() -> None:
    found = interface("delay: 10ms, loss: 1%, out: {delay: 20ms}, in: {loss: 0%}")
    assert found.out == Impairment(delay_us=20_000, loss=0.01)
    assert found.incoming == Impairment(delay_us=10_000)


def test_a_direction_without_impairments_has_none() -> None:
    found = interface("delay: 0ms, out: {loss: 1%}")
    assert found.out == Impairment(loss=0.01)
    assert found.incoming is None


def test_a_queue_left_out_is_a_hundred_packets() -> None:
    assert interface("rate: 1mbit, mtu: 1000").out == Impairment(rate_bit=1_000_000, queue_bytes=101_400)


@pytest.mark.parametrize(
    ("link", "kinds", "chosen"),
    [
        ("", BOTH, "none"),
        ("delay: 0s", NEITHER, "none"),
        ("wire: true", BOTH, "wire"),
        ("wire: true, delay: 1ms", BOTH, "wire"),
        ("delay: 1ms", BOTH, "netem"),
        ("delay: 1ms", frozenset({"netem"}), "netem"),
        ("delay: 1ms", TBF, "wire"),
        ("delay: 1ms, rate: 1mbit", frozenset({"netem"}), "wire"),
        ("rate: 1mbit", BOTH, "tbf"),
        ("rate: 1mbit", TBF, "tbf"),
        ("rate: 1mbit", NEITHER, "wire"),
        ("out: {rate: 1mbit}", TBF, "tbf"),
        ("rate: 1mbit, in: {loss: 1%}", TBF, "wire"),
        ("rate: 1mbit, in: {loss: 1%}", BOTH, "netem"),
    ],
)
def test_the_kernel_does_what_it_can_and_a_wire_the_rest(link: str, kinds: frozenset[Kind], chosen: Mechanism) -> None:
    assert mechanism(interface(link), kinds) == chosen


def test_settings_at_run_time_are_those_of_a_file() -> None:
    settings: dict[str, Any] = {"delay": "10ms", "in": {"loss": "1%"}}
    assert from_settings(settings, 1500) == (Impairment(delay_us=10_000), Impairment(delay_us=10_000, loss=0.01))
    assert from_settings({}, 1500) == (None, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"dealy": "1ms"},
            f'unknown impairment "dealy"; allowed: {KNOWN}',
        ),
        ({"delay": 1}, "delay: found the number 1; a time is written like 250us, 10ms or 1.5s"),
        (
            {"out": {"loss": "many"}},
            'out.loss: found "many"; a share is written like 1% or 0.01, and all of them as 100%',
        ),
        ({"queue": "50p"}, "queue: nothing waits on a link that is as fast as can be; add a rate"),
        (
            {"mac": "02:00:00:00:00:01"},
            f'unknown impairment "mac"; allowed: {KNOWN}',
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_settings(settings, 1500)
    assert str(caught.value) == message


def test_an_impairment_reads_as_it_is_written() -> None:
    found = interface("delay: 10ms, jitter: 2ms, rate: 1.5mbit, queue: 45kB, loss: 1%, reorder: 0.5%").out
    assert str(found) == "delay 10ms, jitter 2ms, rate 1.5mbit, queue 45000B, loss 1%, reorder 0.5%"
