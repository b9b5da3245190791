"""The one place that sleeps."""

from __future__ import annotations

import itertools

import pytest

from lab import wait
from lab.errors import WaitTimeoutError
from lab.wait import comes_true, wait_until


class Clock:
    """Time that passes only while somebody sleeps, or as much as a question takes."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(wait, "time", made)
    return made


def test_what_is_true_already_is_not_waited_for(clock: Clock) -> None:
    wait_until(lambda: True, timeout=0, what="nothing")
    assert clock.pauses == []


def test_it_asks_until_it_is_true(clock: Clock) -> None:
    answers = iter([False, False, False, True])
    wait_until(lambda: next(answers), timeout=1, what="the fourth answer")
    assert len(clock.pauses) == 3


def test_it_asks_often_at_first_and_never_less_than_fifty_times_a_second(clock: Clock) -> None:
    answers = itertools.chain([False] * 20, [True])
    wait_until(lambda: next(answers), timeout=10, what="the last answer")
    assert clock.pauses[0] < 0.001
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == 0.02


def test_it_gives_up_in_time_and_says_what_it_waited_for(clock: Clock) -> None:
    with pytest.raises(WaitTimeoutError, match=r"^waited 0\.5 s for the port to open, in vain$"):
        wait_until(lambda: False, timeout=0.5, what="the port to open")
    assert 0.5 < sum(clock.pauses) <= 0.5 + 0.02


def test_it_asks_once_more_after_a_pause_that_took_all_the_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may let a pause of a millisecond take a minute, in which it has become true."""

    def oversleep(_seconds: float) -> None:
        clock.now += 60

    monkeypatch.setattr(clock, "sleep", oversleep)
    wait_until(lambda: clock.now > 150, timeout=15, what="a minute to pass")


def test_an_error_of_the_question_is_its_askers(clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 / 0 > 0, timeout=1, what="the impossible")
    assert clock.pauses == []


def test_a_claim_that_comes_true_in_time_holds() -> None:
    answers = iter([False, False, True])
    assert comes_true(lambda: next(answers))


def test_a_claim_that_never_comes_true_does_not_hold() -> None:
    assert not comes_true(lambda: False, timeout=0.01)
