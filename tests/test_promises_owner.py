"""Promise 2: nothing outlives its owner, whoever is killed, interrupted or refused, and whenever."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from lab.wait import wait_until
from tests.users import REDIRECT, User

STEPS = [
    "home",
    "networks",
    *(f"node {node}" for node in ("host", "current", "better", "target")),
    *(f"configure {node}" for node in ("host", "current", "better", "target")),
    "links ready",
]
# What a client hears of a lab that is gone; nothing, if the lab was up before the client heard of the step.
TOLD = r"""
(BackendError:.(lab."round-\d+":.its.owner.ended.before.the.lab.was.up|the.lab.went.down.meanwhile)
|UsageError:.no.lab.named."round-\d+".is.up.*)
"""


REFUSED = {
    "a multicast MAC": r"interfaces: interface eth0 .*: Cannot assign requested address",
    "an MTU beyond Ethernet's": r"interfaces: interface eth0 .*: Invalid argument",
    "an address twice": r"node host: address 10\.0\.1\.10/24: File exists",
    "a gateway out of reach": r"node host: route 192\.0\.2\.0/24 via 198\.51\.100\.1: Network is unreachable",
    "a route twice": r"node host: route 0\.0\.0\.0/0 via 10\.0\.1\.1: File exists",
    "a sysctl's value": r"node host: sysctl net\.ipv4\.ip_default_ttl = many: Invalid argument",
    "a sysctl's name": r"node host: sysctl net\.ipv4\.no_such_thing = 1: No such file or directory",
}


def rounds_of(user: User, victim: str) -> list[dict[str, Any]]:
    rounds: list[dict[str, Any]] = user.report("rounds", victim)["rounds"]
    assert {f"{one['moment']} {one['step']}": one["left"] for one in rounds if one["left"]} == {}
    assert [one["step"] for one in rounds if one["moment"] == "up"] == [*STEPS, "none"]
    assert [one["outcome"] for one in rounds if "not foreseen" in one["outcome"] or "\n" in one["outcome"]] == []
    return rounds


def outcomes(rounds: Sequence[dict[str, Any]], moment: str = "up") -> list[str]:
    return [one["outcome"] for one in rounds if one["moment"] == moment]


@pytest.mark.parametrize("victim", ["owner", "guard"])
def test_a_lab_whose_owner_or_guard_is_killed_is_gone_at_once_and_its_client_is_told(user: User, victim: str) -> None:
    rounds = rounds_of(user, victim)
    told = {outcome for outcome in outcomes(rounds) if re.fullmatch(TOLD, outcome, re.VERBOSE)}
    assert told
    assert set(outcomes(rounds)) - told == {"no error"}
    assert min(one["watched"] for one in rounds if one["moment"] != "up") > len(STEPS)  # namespaces, four a node


def test_a_lab_whose_client_is_killed_is_gone_at_once(user: User) -> None:
    rounds = rounds_of(user, "client")
    assert set(outcomes(rounds)[:-1]) == {"killed"}


def test_a_lab_lives_on_when_the_process_that_started_it_is_killed_and_ends_with_its_client(user: User) -> None:
    rounds = rounds_of(user, "nursery")
    assert set(outcomes(rounds) + outcomes(rounds, "run") + outcomes(rounds, "down")) == {"no error"}


def test_a_lab_whose_command_is_killed_before_it_has_told_of_it_is_gone_at_once(user: User) -> None:
    assert outcomes(rounds_of(user, "command")) == ["killed"] * len(STEPS) + ["exit code 0"]


def test_ctrl_c_during_lab_up_ends_with_130_and_leaves_nothing(user: User) -> None:
    assert outcomes(rounds_of(user, "interrupt")) == ["exit code 130"] * len(STEPS) + ["exit code 0"]


def test_a_call_that_the_kernel_refuses_is_one_clear_error_and_leaves_nothing(user: User) -> None:
    *refused, whole = user.report("troubles", "faults")["found"]
    assert (whole["error"], whole["left"]) == ("", "")
    assert len(refused) > 5 * len(STEPS)
    assert {one["left"] for one in refused} == {""}
    assert {one["kind"] for one in refused} <= {"BackendError", "NotSupportedError"}
    for one in refused:
        assert re.fullmatch(
            r"(node \w+|networks|interfaces|the lab's own namespaces|this user) .*|.*: .*", one["error"]
        )
        assert "Input/output error" in one["error"]
        assert "the lab's owner failed" not in one["error"]


def test_a_plan_that_the_kernel_refuses_is_one_clear_error(user: User) -> None:
    found = {one["what"]: one for one in user.report("troubles", "refusals")["found"]}
    assert found.keys() == REFUSED.keys()
    for what, error in REFUSED.items():
        assert re.fullmatch(error, found[what]["error"]), what
        assert (found[what]["kind"], found[what]["left"]) == ("BackendError", ""), what


@pytest.mark.parametrize(("disk", "room"), [("files", "nr_inodes=24"), ("bytes", "size=96k")])
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(user: User, disk: str, room: str) -> None:
    if os.geteuid():
        pytest.skip("needs root, to mount a small disk")
    *cramped, enough = user.report("troubles", disk, room=room)["found"]
    assert (enough["error"], enough["left"]) == ("", "")
    assert len(cramped) > 3  # every file of the lab's folder in turn
    for one in cramped:
        assert one["left"] == ""
        assert re.fullmatch(r"cannot keep the lab's state in \S+/lab: No space left on device; .*", one["error"])


def test_ctrl_c_during_a_test_with_a_lab_leaves_nothing(user: User) -> None:
    test = user.temporary / "test_long.py"
    test.write_text(
        "import pytest\n"
        f"@pytest.mark.topology({REDIRECT!r})\n"
        "def test_long(lab):\n"
        "    lab['host'].run('sleep', '1234', timeout=100)\n"
    )
    test.chmod(0o644)
    arguments = ["-P", "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(test.parent), str(test)]
    command = user.command(user.module("")[0], *arguments)
    with subprocess.Popen(
        command, env=user.environment, cwd="/", stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        wait_until(lambda: "sleep 1234 " in user.processes().values(), timeout=60, what="the test to run")
        os.killpg(running.pid, signal.SIGINT)
        said, _ = running.communicate(timeout=60)
    assert running.returncode == pytest.ExitCode.INTERRUPTED, said
    assert user.processes() == {}
    assert not [path for path in user.labs.glob("redirect-*") if f"-{running.pid}-" in path.name]
