"""Promise 6: many labs at once; and what is left of dead ones is noticed and cleared away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid

from lab.wait import wait_until
from tests.users import LAB, REDIRECT, User


def test_forty_labs_of_one_file_are_up_at_once_and_each_works(user: User) -> None:
    report = user.report("troubles", "crowd")
    assert report["found"] == [{"up": 40, "received": 1}] * 40
    assert report["left"] == ""


def test_of_several_who_bring_up_one_name_at_once_one_wins_and_the_others_are_told(user: User) -> None:
    name = f"t-{uuid.uuid4().hex[:12]}"
    command = user.command(LAB, "up", REDIRECT, "--name", name)
    contestants = [
        subprocess.Popen(command, env=user.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [contestant.communicate(timeout=60) for contestant in contestants]
    assert sorted(contestant.returncode for contestant in contestants) == [0, 1, 1]
    for contestant, (stdout, stderr) in zip(contestants, said, strict=True):
        if contestant.returncode:
            assert (stdout, stderr) == ("", f'lab: a lab named "{name}" is up already; {HOW_TO_GO_ON.format(name)}\n')
    assert user.lab("exec", "--lab", name, "host", "--", "ping", "-c1", "10.9.0.9").returncode == 0
    assert user.lab("down", name).returncode == 0


HOW_TO_GO_ON = 'take it down with "lab down {}", or give this one another name with "--name"'


DEAD = """
lab=$1 labs=$2 file=$3
dead() {
    mkdir $labs/dead $labs/dead/nodes $labs/half $labs/.new-1 $labs/.new-2
    touch $labs/dead/lock $labs/dead/plan.json $labs/dead/owner.json $labs/half/plan.json $labs/.new-1/lock
}
set -e
$lab up $file --name alive >&2
dead
echo $(ls -A $labs)
$lab ls >&2
echo $(ls -A $labs)
dead
$lab up $file --name dead >&2
echo $(ls -A $labs)
$lab exec --lab dead host -- true
$lab down --all >&2
ls -A $labs
"""


def test_what_dead_labs_have_left_is_cleared_away_by_the_next_command(user: User) -> None:
    done = user.run_command(user.secluded("sh", "-c", DEAD, "sh", LAB, str(user.labs), REDIRECT))
    assert done.stdout.splitlines() == [".new-1 .new-2 alive dead half", "alive", "alive dead"]
    assert f"cannot access '{user.labs}'" in done.stderr


def test_a_lab_whose_owner_and_guard_were_killed_together_is_forgotten_and_its_name_is_free(user: User) -> None:
    name = user.up()
    facts = json.loads((user.labs / name / "owner.json").read_text())
    os.kill(facts["owner"], signal.SIGSTOP)
    for process in (facts["guard"], facts["owner"]):
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: not user.processes(), timeout=10, what="the processes to end")
    assert (user.labs / name).is_dir()
    refused = user.lab("exec", "--lab", name, "host", "--", "true")
    assert refused.returncode in (1, 2)
    assert refused.stderr.count("\n") == 1
    assert user.lab("up", REDIRECT, "--name", name).returncode == 0
    assert user.lab("exec", "--lab", name, "host", "--", "true").returncode == 0
    assert user.lab("down", name).returncode == 0
