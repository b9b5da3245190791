"""The process that makes the namespaces of nodes ahead of the one that fills them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from lab.backends.netns.client import NetnsBackend
from lab.backends.owned import registry
from lab.errors import BackendError
from lab.load import loads
from lab.plan.planner import plan
from lab.running import Lab
from tests.bench.topology import one_switch
from tests.small_labs import TWO_HOSTS, planned

MANY = 300  # more than it may be ahead by


@pytest.fixture
def backend() -> Iterator[NetnsBackend]:
    with closing(NetnsBackend()) as backend:
        yield backend


def children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_a_lab_whose_namespaces_nobody_makes_any_more_is_one_clear_error(backend: NetnsBackend) -> None:
    lab = plan(loads(one_switch(f"ahead-{os.getpid()}", MANY)))

    def kill_maker(step: str) -> None:
        if step == "node h1":
            (maker,) = children(registry.owner_of(lab.name)["owner"])
            os.kill(maker, signal.SIGKILL)

    with pytest.raises(BackendError) as caught:
        backend.up(lab, on_step=kill_maker)

    first, _, reason = str(caught.value).partition(": ")
    assert reason == "the process that makes namespaces was killed"
    assert first.startswith("node h")
    assert lab.name not in registry.names()


def test_nobody_makes_namespaces_once_the_lab_is_up(backend: NetnsBackend) -> None:
    with Lab.up(planned(TWO_HOSTS), backend) as lab:
        assert children(registry.owner_of(lab.name)["owner"]) == []


def test_no_more_namespaces_are_made_for_a_lab_that_cannot_be_built(backend: NetnsBackend) -> None:
    lab = plan(loads(one_switch(f"ahead-{os.getpid()}", MANY)))
    first = lab.nodes[0]
    multicast = replace(first.interfaces[0], mac="01:00:5e:00:00:01")
    lab = replace(lab, nodes=(replace(first, interfaces=(multicast,)), *lab.nodes[1:]))
    steps: list[str] = []
    with pytest.raises(BackendError, match="Cannot assign requested address"):
        backend.up(lab, on_step=steps.append)
    assert f"node h{MANY}" not in steps
    assert lab.name not in registry.names()
