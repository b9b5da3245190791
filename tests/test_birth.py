from __future__ import annotations

import os

import pytest

from lab.backends.owned import messages
from lab.backends.owned.birth import Birth


@pytest.mark.parametrize("order", [("owner", "step", "ready"), ("step", "ready", "owner")])
def test_a_lab_is_up_when_its_owner_is_known_and_ready_whichever_comes_first(order: tuple[str, ...]) -> None:
    ours, theirs = messages.pair()
    steps: list[str] = []
    with ours, theirs:
        ours.settimeout(10)
        gone, held = os.pipe()
        for what in order:
            messages.send(theirs, {what: "one"}, [gone] if what == "owner" else [])
        os.close(gone)
        birth = Birth(ours)
        birth.follow(steps.append)
        assert birth.survive(detached=False) is ours
        os.close(held)
    assert steps == ["one"]
