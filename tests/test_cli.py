"""The `lab` command: what it prints, for people and for programs, and its exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from lab import doctor
from lab.backends.netns.client import NetnsBackend
from lab.backends.owned import registry
from lab.backends.table import BACKENDS, DEFAULT
from lab.cli import ls, main
from lab.doctor.finding import Finding
from lab.load import load
from lab.plan.model import Plan
from lab.plan.planner import plan
from lab.plan.text import render
from lab.running import Lab
from lab.services.table import KINDS
from lab.spec import topology_schema
from lab.trace.pcap import read_pcap
from tests.small_labs import TWO_HOSTS

COMMAND = str(Path(sys.executable).parent / "lab")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def call(*arguments: str) -> Said:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as leaving:  # argparse's way
            code = int(leaving.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def execute(*arguments: str, stdin: str = "", environment: dict[str, str] | None = None) -> Said:
    """Run a command as a person does."""
    done = subprocess.run(
        [COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("topology") / "two.yaml"
    path.write_text(TWO_HOSTS)
    return path


def new_name() -> str:
    return f"cli-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def name(topology: Path) -> Iterator[str]:
    """A lab that is up, by its name."""
    name = new_name()
    assert call("up", str(topology), "--name", name).code == 0
    yield name
    assert call("down", name).code == 0


@pytest.fixture
def running(name: str) -> Lab:
    return Lab(NetnsBackend().attach(name))


@contextlib.contextmanager
def capturing(*arguments: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """`lab capture`, armed by the time the block is entered."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [COMMAND, "capture", *arguments], stdout=stdout, stderr=subprocess.PIPE, env=buffered
    ) as capture:
        try:
            assert capture.stderr
            assert capture.stderr.readline().startswith(b"capturing on ")
            yield capture
        finally:
            capture.kill()


# up, down, ls


def test_up_says_what_is_up_and_what_to_try(topology: Path) -> None:
    name = new_name()
    up = call("up", str(topology), "--name", name)
    down = call("down", name)
    assert (up.code, up.err) == (0, "")
    first, *_, last = up.out.splitlines()
    assert first.startswith(f"{name} is up: 2 nodes, 1 network, ")
    assert last == f"try: lab exec left -- ip addr | lab shell left | lab capture left | lab down {name}"
    assert down == Said(0, f"{name} is down\n", "")


def test_up_prints_the_plan_for_programs(topology: Path) -> None:
    name = new_name()
    up = call("up", str(topology), "--name", name, "--format", "json")
    call("down", name)
    made = Plan.from_data(json.loads(up.out))
    assert (up.code, made.name, made.nodes) == (0, name, plan(load(topology)).nodes)


def test_up_tells_of_what_a_person_should_know(tmp_path: Path) -> None:
    path = tmp_path / "two-gateways.yaml"
    shutil.copy(Path(__file__).parent / "golden" / "plans" / "two-gateways.yaml", path)
    name = new_name()
    up = call("up", str(path), "--name", name)
    call("down", name)
    notes = [line for line in up.out.splitlines() if line.startswith("note: ")]
    assert notes == [f"note: {note}" for note in plan(load(path)).notes] != []


def test_up_refuses_a_name_that_is_up(name: str, topology: Path) -> None:
    said = call("up", str(topology), "--name", name)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f'lab: a lab named "{name}" is up already; take it down with "lab down {name}"')
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("bad", ["../up", "Capital", "", "x" * 100])
def test_up_refuses_a_name_that_is_none(topology: Path, bad: str) -> None:
    said = call("up", str(topology), "--name", bad)
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


def test_down_takes_several_labs_down(topology: Path) -> None:
    names = [new_name(), new_name()]
    for each in names:
        assert call("up", str(topology), "--name", each).code == 0
    assert call("down", *names).out == "".join(f"{each} is down\n" for each in names)
    assert not set(names) & set(registry.names())


def test_down_takes_all_labs_down(topology: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [new_name(), new_name()]
    for each in names:
        assert call("up", str(topology), "--name", each).code == 0
    with monkeypatch.context() as only_ours:
        only_ours.setattr(registry, "names", lambda: names)
        assert call("down", "--all").out == "".join(f"{each} is down\n" for each in names)
    assert not set(names) & set(registry.names())


def test_down_with_none_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", list)
    assert call("down") == Said(2, "", 'lab: no lab is up; "lab up FILE" starts one\n')
    assert call("down", "--all") == Said(0, "", "")


def test_down_says_which_labs_there_are(name: str) -> None:
    said = call("down", "ghost")
    assert said.code == 2
    assert said.err.startswith('lab: no lab named "ghost" is up (running: ')
    assert name in said.err


def test_ls_lists_labs_for_people(name: str, topology: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: [name])
    said = call("ls")
    head, row = map(str.split, said.out.splitlines())
    assert (said.code, head) == (0, ["NAME", "BACKEND", "NODES", "UP", "FOR", "OWNER", "FILE"])
    assert (row[:3], row[-1]) == ([name, "netns", "2"], str(topology))


def test_ls_lists_labs_for_programs(name: str, topology: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: [name])
    said = call("ls", "--format", "json")
    (found,) = json.loads(said.out)
    assert found["owner"] > 0
    assert found["since"] > 0
    assert {key: found[key] for key in ("name", "backend", "nodes", "source", "rootless")} == {
        "name": name,
        "backend": "netns",
        "nodes": 2,
        "source": str(topology),
        "rootless": os.geteuid() != 0,
    }


# Which lab is meant


def test_the_only_lab_need_not_be_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: [name])
    assert call("inspect").code == 0


def test_one_of_several_labs_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: ["one", "two"])
    assert call("inspect") == Said(2, "", "lab: several labs are up (one, two); say which\n")


def test_a_lab_can_be_named_by_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB", name)
    assert call("inspect").out.startswith(f"lab {name}: ")


# inspect, plan, schema, doctor


def test_inspect_shows_plan_and_programs(name: str, running: Lab) -> None:
    assert call("inspect", name).out == render(running.plan) + "\ncut: nothing\nkilled: nothing\n\nno processes\n"
    with running["left"].start("sleep", "60") as process:
        said = call("inspect", name)
        data = json.loads(call("inspect", name, "--format", "json").out)
    *_, head, row = said.out.splitlines()
    assert (head.split(), row.split(maxsplit=2)) == (
        ["PID", "NODE", "COMMAND"],
        [str(process.pid), "left", "sleep 60"],
    )
    assert data.keys() == {"plan", "processes", "services", "faults"}
    assert Plan.from_data(data["plan"]) == running.plan
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


def test_plan_is_there_for_programs_too(topology: Path) -> None:
    said = call("plan", str(topology), "--format", "json")
    assert Plan.from_data(json.loads(said.out)) == plan(load(topology))


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


def test_exec_is_the_program(name: str) -> None:
    said = execute("exec", "--lab", name, "left", "--", "sh", "-c", 'cat; hostname; echo "$1" >&2; exit 7', "-", "a  b")
    assert said == Said(7, "left\n", "a  b\n")
    assert execute("exec", "--lab", name, "left", "cat", stdin="through\n") == Said(0, "through\n", "")


def test_exec_finds_the_lab_by_the_environment(name: str) -> None:
    assert execute("exec", "right", "hostname", environment={"LAB": name}).out == "right\n"


def test_exec_tells_of_a_signal_as_a_shell_does(name: str) -> None:
    said = execute("exec", "--lab", name, "left", "--", "sh", "-c", "kill -TERM $$")
    assert said.code == 128 + signal.SIGTERM


def test_exec_says_which_nodes_there_are(name: str) -> None:
    said = execute("exec", "--lab", name, "nobody", "true")
    assert said == Said(2, "", f'lab: no node named "nobody"; lab {name} has left, right\n')


def test_exec_wants_a_program(name: str) -> None:
    for words in (["left"], ["left", "--"]):
        said = execute("exec", "--lab", name, *words)
        assert said == Said(2, "", "lab: no program to run; write: lab exec left -- PROGRAM [ARGUMENT...]\n")


def test_exec_of_a_program_that_does_not_exist_is_what_a_shell_makes_of_it(name: str) -> None:
    said = execute("exec", "--lab", name, "left", "no-such-program", environment={"PATH": "/usr/bin:/bin"})
    assert said.code == 127
    assert "no-such-program" in said.err


def test_exec_in_an_unknown_lab_says_so() -> None:
    said = execute("exec", "--lab", "ghost", "left", "true")
    assert said.code == 2
    assert said.err.startswith('lab: no lab named "ghost" is up')


def test_shell_is_the_users_own(name: str) -> None:
    said = execute("shell", "--lab", name, "left", stdin="hostname\nexit 4\n", environment={"SHELL": "/bin/sh"})
    assert (said.code, said.out) == (4, "left\n")


def test_shell_without_a_shell_is_the_machines(name: str) -> None:
    said = execute("shell", "--lab", name, "left", stdin="echo $0\n", environment={"SHELL": "/no/such/shell"})
    assert (said.code, said.out) == (0, "/bin/sh\n")


# capture


def test_capture_prints_packets_until_the_count(name: str, running: Lab) -> None:
    with capturing("--lab", name, "left:eth0", "-c", "4", "icmp") as capture:
        running["left"].ping(running["right"].address(), count=3)
        out, err = capture.communicate(timeout=10)
    lines = out.decode().splitlines()
    assert (capture.returncode, len(lines)) == (0, 4)
    assert lines[0].startswith("0.000000 left:eth0 > 10.0.1.1 > 10.0.1.2: icmp echo_request")
    assert lines[3].split()[1:6] == ["left:eth0", "<", "10.0.1.2", ">", "10.0.1.1:"]
    assert err == b"4 packets captured, 0 dropped by the kernel\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_capture_sums_up_when_it_is_interrupted(name: str, running: Lab, number: signal.Signals) -> None:
    with capturing("--lab", name, "left", "icmp") as capture:
        running["left"].ping(running["right"].address())
        capture.send_signal(number)
        out, err = capture.communicate(timeout=10)
    assert (capture.returncode, out.count(b"\n")) == (0, 2)
    assert err == b"2 packets captured, 0 dropped by the kernel\n"


def test_capture_writes_a_file(name: str, running: Lab, tmp_path: Path) -> None:
    with capturing("--lab", name, "left", "icmp", "-w", str(tmp_path / "a.pcap"), "-c", "2") as capture:
        running["left"].ping(running["right"].address())
        out, _ = capture.communicate(timeout=10)
    assert out == b""
    assert len(list(read_pcap(tmp_path / "a.pcap"))) == 2


def test_capture_writes_into_a_pipe(name: str, running: Lab, tmp_path: Path) -> None:
    with capturing("--lab", name, "left", "-w", "-", "icmp") as capture:
        running["left"].ping(running["right"].address())
        assert capture.stdout
        assert select.select([capture.stdout], [], [], 10)[0], "nothing comes while the capture goes on"
        capture.send_signal(signal.SIGINT)
        out, _ = capture.communicate(timeout=10)
    (tmp_path / "a.pcap").write_bytes(out)
    assert len(list(read_pcap(tmp_path / "a.pcap"))) == 2


def test_capture_ends_when_nobody_reads(name: str, running: Lab) -> None:
    with capturing("--lab", name, "left", "icmp") as capture:
        assert capture.stdout
        capture.stdout.close()
        running["left"].ping(running["right"].address())
        assert capture.wait(timeout=10) == 0
        assert capture.stderr
        assert b"Traceback" not in capture.stderr.read()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["left:eth7"], 2, "lab: cannot capture on left:eth7 (No such device)"),
        (["nobody"], 2, 'lab: no node named "nobody"'),
        (["left", "prot tcp"], 2, 'lab: filter "prot tcp": '),
        (["left", "-w", "/no/such/folder/a.pcap"], 2, "lab: cannot write /no/such/folder/a.pcap: No such file"),
        (["left", "-c", "0"], 2, "lab capture: argument -c/--count: invalid"),
        (["left", "--colour"], 2, "lab: --colour is not known here"),
    ],
)
def test_capture_says_what_it_cannot_do(name: str, words: Sequence[str], code: int, said: str) -> None:
    found = execute("capture", "--lab", name, *words)
    assert (found.code, found.out) == (code, "")
    assert found.err.splitlines()[-1].startswith(said)
    assert "Traceback" not in found.err


def test_a_missing_tool_is_named_with_its_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    said = call("capture", "--lab", name, "left", "icmp")
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])
    assert said == Said(3, "", "lab: tcpdump is not installed; install it: apt-get install tcpdump\n")


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


def test_a_reader_who_has_enough_is_no_error(topology: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([COMMAND, "plan", str(topology)], stdout=writer, stderr=subprocess.PIPE, check=False)
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
