"""The timeline: carried out by the lab's owner, in order and in time."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab.backends.netns.client import NetnsBackend
from lab.cli import main
from lab.errors import UsageError
from lab.faults.model import Fault
from lab.plan.model import PlannedEvent
from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.wait import wait_until
from tests.faulty_labs import THREE, in_vain, planned, reaches

EVENTS = """
timeline:
  - {at: 100ms, kill: c}
  - {at: 0s, cut: [a, b]}
  - {at: 250ms, restore: }
  - {at: 250ms, start: c}
  - {at: 300ms, impair: a, rate: 100mbit}
  - {at: 301ms, partition: [a, [b, c]]}
"""
CLOCK_STEP_NS = 1_000_000  # what the clock of marks may be set back meanwhile, and that of the timeline is not
DONE = ["cut a b", "kill c", "restore", "start c", "impair a:eth0 rate 100mbit, queue 151400B", "partition a b,c"]


def await_end(lab: Lab) -> None:
    wait_until(lambda: lab.faults().pending == 0, timeout=10, what="the timeline's end")


def test_events_happen_in_the_order_of_time_and_not_before_it(labs: Labs) -> None:
    with Lab.up(planned(THREE + EVENTS), labs.backend) as lab:
        with lab["a"].capture() as capture:
            assert lab.faults().pending is None
            began = time.time_ns()
            assert lab.start_timeline() == len(DONE)
            await_end(lab)
        assert [mark.text for mark in capture.trace.marks] == DONE
        waited = [mark.time_ns - began for mark in capture.trace.marks]
        due = [event.at_us * 1000 for event in lab.plan.timeline]
        assert all(wait > at - CLOCK_STEP_NS for wait, at in zip(waited, due, strict=True))
        assert in_vain(lab["a"], lab["b"])
        assert reaches(lab["b"], lab["c"])


def test_a_timeline_begins_once(labs: Labs) -> None:
    with Lab.up(planned(THREE + EVENTS), labs.backend) as lab:
        lab.start_timeline()
        with pytest.raises(UsageError, match="the timeline has begun already; "):
            lab.start_timeline()


def test_an_event_that_cannot_be_is_told_by_a_mark_and_the_next_one_happens(labs: Labs) -> None:
    """The file's own events were checked with the file, but somebody may have cut something else meanwhile."""
    events = (PlannedEvent(0, Fault("restore", ("a",))), PlannedEvent(0, Fault("kill", ("c",))))
    with Lab.up(replace(planned(THREE), timeline=events), labs.backend) as lab:
        lab.cut("lan")
        lab.start_timeline()
        await_end(lab)
        assert [mark.text for mark in lab.faults().marks] == [
            "cut lan",
            'restore a: not done: "a" is not what was cut; restore what was: "lan"',
            "kill c",
        ]


def test_lab_up_lets_the_timeline_begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = planned(THREE).name
    file = tmp_path / "lab.yaml"
    file.write_text(THREE + EVENTS)
    assert main(["up", str(file), "--name", name]) == 0
    try:
        assert "timeline: 6 events from now on, the last after 0.301 s\n" in capsys.readouterr().out
        lab = Lab(NetnsBackend().attach(name))
        await_end(lab)
        assert [mark.text for mark in lab.faults().marks] == DONE
        assert main(["inspect", name, "--format", "json"]) == 0
        told = json.loads(capsys.readouterr().out)["faults"]
        assert (told["cuts"], told["off"], told["pending"]) == (["a b,c"], [], 0)
    finally:
        assert main(["down", name]) == 0
