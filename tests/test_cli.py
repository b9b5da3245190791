"""The `lab` command: what it prints, for people and for programs, and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from lab import doctor
from lab.backends.owned import registry
from lab.backends.table import BACKENDS, DEFAULT
from lab.cli import ls
from lab.doctor.finding import Finding
from lab.load import load
from lab.plan.model import Plan
from lab.plan.planner import plan
from lab.plan.text import render
from lab.running import Lab
from lab.services.table import KINDS
from lab.spec import topology_schema
from tests.commands import COMMAND, Said, call, execute, new_name

# up, down, ls


def test_up_says_what_is_up_and_what_to_try(two_hosts_file: Path) -> None:
    name = new_name()
    up = call("up", str(two_hosts_file), "--name", name)
    down = call("down", name)
    assert (up.code, up.err) == (0, "")
    first, *_, last = up.out.splitlines()
    assert first.startswith(f"{name} is up: 2 nodes, 1 network, ")
    assert last == f"try: lab exec left -- ip addr | lab shell left | lab capture left | lab down {name}"
    assert down == Said(0, f"{name} is down\n", "")


def test_up_prints_the_plan_for_programs(two_hosts_file: Path) -> None:
    name = new_name()
    up = call("up", str(two_hosts_file), "--name", name, "--format", "json")
    call("down", name)
    made = Plan.from_data(json.loads(up.out))
    assert (up.code, made.name, made.nodes) == (0, name, plan(load(two_hosts_file)).nodes)


def test_up_tells_of_what_a_person_should_know(tmp_path: Path) -> None:
    path = tmp_path / "two-gateways.yaml"
    shutil.copy(Path(__file__).parent / "golden" / "plans" / "two-gateways.yaml", path)
    name = new_name()
    up = call("up", str(path), "--name", name)
    call("down", name)
    notes = [line for line in up.out.splitlines() if line.startswith("note: ")]
    assert notes == [f"note: {note}" for note in plan(load(path)).notes] != []


def test_up_refuses_a_name_that_is_up(lab_name: str, two_hosts_file: Path) -> None:
    said = call("up", str(two_hosts_file), "--name", lab_name)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f'lab: a lab named "{lab_name}" is up already; take it down with "lab down {lab_name}"')
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("bad", ["../up", "Capital", "", "x" * 100])
def test_up_refuses_a_name_that_is_none(two_hosts_file: Path, bad: str) -> None:
    said = call("up", str(two_hosts_file), "--name", bad)
    assert said.code == 2
    assert said.err.startswith("lab: --name: ")


def test_up_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("name: wrong\nnodes:\n  left: {kind: rooter}\n")
    said = call("up", str(path))
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"lab: {path}:3:16: nodes.left.kind: ")


def test_up_says_that_there_is_no_such_file() -> None:
    said = call("up", "no-such-file.yaml")
    assert said.code == 2
    assert said.err.startswith("lab: no-such-file.yaml: cannot be read: no such file")


def test_down_takes_several_labs_down(two_hosts_file: Path) -> None:
    names = [new_name(), new_name()]
    for each in names:
        assert call("up", str(two_hosts_file), "--name", each).code == 0
    assert call("down", *names).out == "".join(f"{each} is down\n" for each in names)
    assert not set(names) & set(registry.names())


def test_down_takes_all_labs_down(two_hosts_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [new_name(), new_name()]
    for each in names:
        assert call("up", str(two_hosts_file), "--name", each).code == 0
    with monkeypatch.context() as only_ours:
        only_ours.setattr(registry, "names", lambda: names)
        assert call("down", "--all").out == "".join(f"{each} is down\n" for each in names)
    assert not set(names) & set(registry.names())


def test_down_with_none_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", list)
    assert call("down") == Said(2, "", 'lab: no lab is up; "lab up FILE" starts one\n')
    assert call("down", "--all") == Said(0, "", "")


def test_down_says_which_labs_there_are(lab_name: str) -> None:
    said = call("down", "ghost")
    assert said.code == 2
    assert said.err.startswith('lab: no lab named "ghost" is up (running: ')
    assert lab_name in said.err


def test_ls_lists_labs_for_people(lab_name: str, two_hosts_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: [lab_name])
    said = call("ls")
    head, row = map(str.split, said.out.splitlines())
    assert (said.code, head) == (0, ["NAME", "BACKEND", "NODES", "UP", "FOR", "OWNER", "FILE"])
    assert (row[:3], row[-1]) == ([lab_name, "netns", "2"], str(two_hosts_file))


def test_ls_lists_labs_for_programs(lab_name: str, two_hosts_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: [lab_name])
    said = call("ls", "--format", "json")
    (found,) = json.loads(said.out)
    assert found["owner"] > 0
    assert found["since"] > 0
    assert {key: found[key] for key in ("name", "backend", "nodes", "source", "rootless")} == {
        "name": lab_name,
        "backend": "netns",
        "nodes": 2,
        "source": str(two_hosts_file),
        "rootless": os.geteuid() != 0,
    }


# Which lab is meant


def test_the_only_lab_need_not_be_named(lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: [lab_name])
    assert call("inspect").code == 0


def test_one_of_several_labs_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: ["one", "two"])
    assert call("inspect") == Said(2, "", "lab: several labs are up (one, two); say which\n")


def test_a_lab_can_be_named_by_the_environment(lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB", lab_name)
    assert call("inspect").out.startswith(f"lab {lab_name}: ")


# inspect, plan, schema, doctor


def test_inspect_shows_plan_and_programs(lab_name: str, running_lab: Lab) -> None:
    assert (
        call("inspect", lab_name).out == render(running_lab.plan) + "\ncut: nothing\nkilled: nothing\n\nno processes\n"
    )
    with running_lab["left"].start("sleep", "60") as process:
        said = call("inspect", lab_name)
        data = json.loads(call("inspect", lab_name, "--format", "json").out)
    *_, head, row = said.out.splitlines()
    assert (head.split(), row.split(maxsplit=2)) == (
        ["PID", "NODE", "COMMAND"],
        [str(process.pid), "left", "sleep 60"],
    )
    assert data.keys() == {"plan", "processes", "services", "faults"}
    assert Plan.from_data(data["plan"]) == running_lab.plan
    assert data["processes"] == [{"pid": process.pid, "node": "left", "command": ["sleep", "60"]}]


def test_plan_shows_every_address_and_route() -> None:
    said = call("plan", str(Path(__file__).parent.parent / "topologies" / "two-hosts.yaml"))
    assert said == Said(
        0,
        "lab two-hosts: networks 1, nodes 2\n"
        "\n"
        "NETWORK  BRIDGE  MTU   SUBNETS\n"
        "lan      br0     1500  10.0.1.0/24\n"
        "\n"
        "NODE   KIND  INTERFACE  NETWORK  MTU   MAC                ADDRESSES\n"
        "left   host  eth0       lan      1500  02:00:0a:00:01:01  10.0.1.1/24\n"
        "right  host  eth0       lan      1500  02:00:0a:00:01:02  10.0.1.2/24\n",
        "",
    )


def test_plan_is_there_for_programs_too(two_hosts_file: Path) -> None:
    said = call("plan", str(two_hosts_file), "--format", "json")
    assert Plan.from_data(json.loads(said.out)) == plan(load(two_hosts_file))


def test_schema_prints_the_schema() -> None:
    printed = json.loads(call("schema").out)
    assert printed == topology_schema(KINDS)
    assert printed["$defs"]["NodeSpec"]["properties"]["services"]["properties"].keys() == KINDS.keys()


@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 1)])
def test_doctor_tells_whether_labs_can_run(monkeypatch: pytest.MonkeyPatch, works: bool, code: int) -> None:  # noqa: FBT001
    finding = Finding(
        "bridge", "kernel", ok=works, required=True, detail="tried", remedy="" if works else "modprobe bridge"
    )
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    text, data = call("doctor"), call("doctor", "--format", "json")
    assert (text.code, data.code) == (code, code)
    assert "bridge" in text.out
    assert json.loads(data.out) == doctor.to_data([finding])


# exec, shell


# The command itself


def test_version_is_printed() -> None:
    assert execute("--version") == Said(0, f"lab {version('lab')}\n", "")


def test_without_a_command_there_is_help() -> None:
    said = call()
    assert said.code == 0
    assert said.out == call("--help").out
    assert "exit codes: 0 done, 1 failed, 2 wrong use" in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ups"], 'lab: argument COMMAND: invalid choice: "ups"'),
        (["up"], "lab up: the following arguments are required: FILE"),
        (["ls", "--format", "xml"], "lab ls: argument --format: invalid choice: 'xml'"),
        (["ls", "extra"], 'lab: extra is not known here; see "lab --help"'),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(words: Sequence[str], said: str) -> None:
    found = call(*words)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert found.err.replace("'", '"').startswith(said.replace("'", '"'))


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ls, "running", interrupted)
    assert call("ls") == Said(130, "", "")


def test_a_traceback_is_shown_only_for_debugging() -> None:
    plain, debugged = execute("down", "ghost"), execute("--debug", "down", "ghost")
    assert plain.err.count("\n") == 1
    assert debugged.code == 1
    assert debugged.err.startswith("Traceback (most recent call last):")
    assert debugged.err.splitlines()[-1].startswith('lab.errors.UsageError: no lab named "ghost"')


def test_a_reader_who_has_enough_is_no_error(two_hosts_file: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [COMMAND, "plan", str(two_hosts_file)], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_imports_nothing_slow() -> None:
    program = (
        "import sys\n"
        "from lab.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "slow = {'pydantic', 'pyroute2', 'pytest', 'testinfra', 'dns'}\n"
        "print(*sorted(slow & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"


def test_the_backends_that_lab_up_takes_are_those_that_there_are() -> None:
    said = execute("up", "--help").out
    assert f"--backend {{{','.join(BACKENDS)}}}" in said
    assert f"(default: {DEFAULT})" in said


def test_what_programs_say_of_themselves_does_not_steer_the_terminal(lab_name: str, running_lab: Lab) -> None:
    command = ("sh", "-c", "sleep 60; :", "\x1b]0;title\x07\n")
    with running_lab["left"].start(*command):
        out = call("inspect", lab_name).out
        assert r"sh -c sleep 60; : \x1b]0;title\x07\n" in out
        assert "\x1b" not in out
        shown = json.loads(call("inspect", lab_name, "--format", "json").out)["processes"]
        assert list(command) in [process["command"] for process in shown]
