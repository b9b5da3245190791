from __future__ import annotations

import pytest

from lab.link.line import Line
from lab.plan.model import Impairment

MS = 1_000_000
FRAME = bytes(1000)


def line(impairment: Impairment | None, seed: str = "1", notes: list[tuple[str, str]] | None = None) -> Line:
    told = [] if notes is None else notes
    return Line(impairment, seed, lambda action, reason, _frame: told.append((action, reason)))


def survivors(one: Line, count: int = 1000) -> list[int]:
    return [number for number in range(count) if one.transmit(FRAME, number * MS)]


def test_an_unimpaired_line_passes_a_frame_on_at_once() -> None:
    assert line(None).transmit(FRAME, 5) == [(5, FRAME)]


def test_a_delay_is_added_to_every_frame() -> None:
    slow = line(Impairment(delay_us=10_000))
    assert [slow.transmit(FRAME, now) for now in (0, 3)] == [[(10 * MS, FRAME)], [(10 * MS + 3, FRAME)]]


def test_jitter_spreads_evenly_around_the_delay() -> None:
    spread = line(Impairment(delay_us=10_000, jitter_us=4_000))
    delays = [when / MS for _number in range(2000) for when, _frame in spread.transmit(FRAME, 0)]
    assert 6 <= min(delays) < 6.1
    assert 13.9 < max(delays) <= 14
    assert sum(delays) / len(delays) == pytest.approx(10, abs=0.2)


def test_frames_are_sent_one_after_the_other_at_the_rate() -> None:
    # 1000 bytes at 8 Mbit/s take a millisecond.
    slow = line(Impairment(rate_bit=8_000_000, queue_bytes=10_000))
    assert [slow.transmit(FRAME, 0)[0][0] for _frame in range(3)] == [1 * MS, 2 * MS, 3 * MS]
    assert slow.transmit(FRAME, 10 * MS)[0][0] == 11 * MS


def test_what_the_queue_has_no_room_for_is_lost() -> None:
    notes: list[tuple[str, str]] = []
    slow = line(Impairment(rate_bit=8_000_000, queue_bytes=3000), notes=notes)
    assert [len(slow.transmit(FRAME, 0)) for _frame in range(5)] == [1, 1, 1, 0, 0]
    assert notes == [("drop", "queue")] * 2
    assert len(slow.transmit(FRAME, 1 * MS)) == 1  # one has been sent meanwhile


def test_a_frame_larger_than_the_queue_passes_an_idle_line() -> None:
    slow = line(Impairment(rate_bit=8_000_000, queue_bytes=10))
    assert len(slow.transmit(FRAME, 0)) == 1
    assert slow.transmit(FRAME, 0) == []


def test_the_delay_comes_after_the_queue() -> None:
    slow = line(Impairment(delay_us=10_000, rate_bit=8_000_000, queue_bytes=10_000))
    assert [slow.transmit(FRAME, 0)[0][0] for _frame in range(2)] == [11 * MS, 12 * MS]


def test_as_many_frames_are_lost_as_is_said() -> None:
    assert 650 < len(survivors(line(Impairment(loss=0.3)))) < 750  # 700, and some three standard deviations


def test_the_same_seed_loses_the_same_frames() -> None:
    lossy = Impairment(loss=0.1)
    assert survivors(line(lossy)) == survivors(line(lossy))
    assert survivors(line(lossy)) != survivors(line(lossy, seed="2"))


def test_a_loss_does_not_depend_on_when_frames_come() -> None:
    lossy = Impairment(loss=0.1)
    one, other = line(lossy), line(lossy)
    assert [bool(one.transmit(FRAME, now)) for now in range(500)] == [
        bool(other.transmit(FRAME, now * now)) for now in range(500)
    ]


def test_a_duplicate_takes_its_own_turn() -> None:
    twice = line(Impairment(duplicate=1.0, rate_bit=8_000_000, queue_bytes=10_000))
    assert twice.transmit(FRAME, 0) == [(1 * MS, FRAME), (2 * MS, FRAME)]


def test_a_reordered_frame_is_not_delayed() -> None:
    notes: list[tuple[str, str]] = []
    hasty = line(Impairment(delay_us=10_000, reorder=1.0), notes=notes)
    assert hasty.transmit(FRAME, 7) == [(7, FRAME)]
    assert notes == [("reorder", "reorder")]


def test_a_corrupted_frame_has_one_bit_turned_over_behind_its_ethernet_header() -> None:
    broken = line(Impairment(corrupt=1.0))
    for _attempt in range(200):
        ((_when, frame),) = broken.transmit(FRAME, 0)
        turned = [(place, byte) for place, byte in enumerate(frame) if byte]
        assert len(turned) == 1
        assert turned[0][0] >= 14
        assert turned[0][1].bit_count() == 1


def test_an_impairment_can_be_replaced_while_frames_pass() -> None:
    changing = line(None)
    changing.impairment = Impairment(delay_us=1000)
    assert changing.transmit(FRAME, 0) == [(1 * MS, FRAME)]
