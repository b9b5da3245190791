"""`lab down` of labs that are only coming up, and in trouble."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lab.backends.docker.client import DockerBackend
from lab.backends.netns.client import NetnsBackend
from lab.backends.owned import messages, registry
from lab.backends.owned.client import attach
from lab.backends.owned.handle import OwnedLab
from lab.errors import BackendError, LabUnreadyError
from lab.wait import wait_until
from tests.commands import Said, call, execute
from tests.small_labs import TWO_HOSTS, planned


class SlowBackend(NetnsBackend):
    """One whose labs never come up; see tests/slow_nursery.py."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        ours, theirs = messages.pair()
        with theirs:
            arguments = [sys.executable, "-P", "-m", "tests.slow_nursery", str(theirs.fileno()), moment]
            self._nursery = subprocess.Popen(arguments, pass_fds=[theirs.fileno()]), ours


@contextmanager
def coming_up(moment: str) -> Iterator[tuple[str, Future[OwnedLab]]]:
    """Have a lab that waits, by its name, and what its client hears of it."""
    backend, plan = SlowBackend(moment), planned(TWO_HOSTS)
    with ThreadPoolExecutor() as pool:
        client = pool.submit(backend.up, plan)
        try:
            wait_until(lambda: is_there(plan.name, moment), timeout=20, what="the lab to begin")
            yield plan.name, client
        finally:
            if plan.name in registry.names():
                kill(plan.name)
            client.exception(20)
            backend.close()


def is_there(name: str, moment: str) -> bool:
    """Whether a lab has begun, and has an owner if that is what waits."""
    return name in registry.names() and ("owner" in registry.owner_of(name) or moment != "build")


def kill(name: str) -> None:
    facts = registry.owner_of(name)
    for process in (facts.get("owner"), facts["guard"]):
        if process:
            os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("moment", ["set_apart", "build"])
def test_a_lab_that_is_coming_up_can_be_taken_down(moment: str) -> None:
    with coming_up(moment) as (name, client):
        assert call("down", name) == Said(0, f"{name} is down\n", "")
        assert name not in registry.names()
        assert "its owner ended before the lab was up" in str(client.exception(20))


def test_an_owner_that_builds_and_does_not_obey_is_killed() -> None:
    with coming_up("build") as (name, client):
        os.kill(registry.owner_of(name)["owner"], signal.SIGSTOP)
        attach(name).down(timeout=0.1)
        assert name not in registry.names()
        assert isinstance(client.exception(20), BackendError)


def test_a_lab_that_is_coming_up_says_so_to_whoever_asks() -> None:
    said = "is still coming up, or going down: wait for that, or take it down: lab down"
    with coming_up("build") as (name, _client):
        with pytest.raises(LabUnreadyError, match=f'^lab "{name}" {said} {name}$'):
            attach(name).processes()
        assert execute("exec", "--lab", name, "left", "--", "true") == Said(1, "", f'lab: lab "{name}" {said} {name}\n')


def trouble(monkeypatch: pytest.MonkeyPatch, *, at_daemon: str = "") -> None:
    """Have three labs: one cannot go down, one goes by itself as soon as it is asked, and one is a good one."""
    living = ["bad", "gone", "good"]

    def down(lab: OwnedLab) -> None:
        if lab.name == "bad":
            raise BackendError('lab "bad": it is not gone')
        living.remove(lab.name)
        if lab.name == "gone":
            raise registry.no_such_lab(lab.name)

    def collect(_backend: DockerBackend) -> None:
        if at_daemon:
            raise BackendError(at_daemon)

    monkeypatch.setattr(registry, "names", lambda: list(living))
    monkeypatch.setattr(OwnedLab, "down", down)
    monkeypatch.setattr(DockerBackend, "collect", collect)


def test_a_lab_that_cannot_go_down_keeps_no_other_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trouble(monkeypatch)
    assert call("down", "--all") == Said(1, "gone is down\ngood is down\n", 'lab: lab "bad": it is not gone\n')


def test_all_that_could_not_be_taken_down_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    trouble(monkeypatch, at_daemon="the daemon refuses")
    said = call("down", "--all")
    assert said == Said(1, "gone is down\ngood is down\n", 'lab: lab "bad": it is not gone; the daemon refuses\n')


def test_labs_that_are_named_go_down_beside_one_that_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    trouble(monkeypatch)
    assert call("down", "bad", "good") == Said(1, "good is down\n", 'lab: lab "bad": it is not gone\n')
