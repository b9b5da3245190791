"""A lab that comes up, as its client hears of it from two processes that do not wait for each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lab.backends.netns.maker import NetnsMaker
from lab.backends.owned import messages
from lab.backends.owned.birth import Birth
from lab.backends.owned.ownership import Lab
from lab.backends.owned.registry import Entry
from tests.small_labs import TWO_HOSTS, planned

OF_GUARD: dict[str, Any] = {"owner": 1}
OF_OWNER: list[dict[str, Any]] = [{"step": "home"}, {"ready": True}]


@pytest.mark.parametrize("place", range(len(OF_OWNER) + 1))
def test_a_lab_is_up_whenever_its_guard_tells_of_its_owner(place: int) -> None:
    ours, theirs = messages.pair()
    ours.settimeout(5)
    reader, writer = os.pipe()
    steps: list[str] = []
    with ours, theirs:
        for body in (*OF_OWNER[:place], OF_GUARD, *OF_OWNER[place:]):
            messages.send(theirs, body, [reader] if body is OF_GUARD else [])
        birth = Birth(ours)
        birth.follow(steps.append)
        assert birth.survive(detached=False) is ours
    assert steps == ["home"]
    os.close(reader)
    os.close(writer)


def test_a_lab_whose_client_has_gone_is_not_built_on_although_it_wants_to_hear_of_no_step() -> None:
    ours, theirs = messages.pair()
    reader, writer = os.pipe()
    entry = Entry(Path("nowhere"), directory=-1, lock=-1)
    options = {"shared": [], "steps": False}
    lab = Lab(planned(TWO_HOSTS), entry, theirs, reader, rootless=False, options=options, maker=NetnsMaker())
    with theirs:
        lab.go_on()
        ours.close()
        with pytest.raises(messages.ConnectionLostError):
            lab.go_on()
    os.close(reader)
    os.close(writer)
