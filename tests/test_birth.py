"""A lab that comes up, as its client hears of it from two processes that do not wait for each other."""

from __future__ import annotations

import os
from typing import Any

import pytest

from lab.backends.owned import messages
from lab.backends.owned.birth import Birth

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
