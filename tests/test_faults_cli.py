"""`lab cut`, `restore`, `partition`, `kill`, `start` and `impair`, and the commands that show what they did."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from lab.cli import main
from lab.cli.impair import settings
from lab.errors import UsageError
from lab.pytest_plugin import Labs
from lab.running import Lab
from tests.faulty_labs import THREE, in_vain, mend, reaches, up

Told = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def shared_lab(labs: Labs) -> Iterator[Lab]:
    with up(THREE, labs.backend) as made:
        yield made


@pytest.fixture
def lab(shared_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("LAB", shared_lab.name)
    yield shared_lab
    mend(shared_lab)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command and returns its exit code, and what it said on stdout and on stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_cut_and_restore_say_what_they_did(lab: Lab, told: Told) -> None:
    a, b, _c = lab
    assert told("cut", "a", "b") == (0, "cut a b: done\n", "")
    assert in_vain(a, b)
    assert told("cut", "a", "b") == (0, "cut a b: nothing to do\n", "")
    assert told("restore", "b", "a") == (0, "restore b a: done\n", "")
    assert reaches(a, b)
    assert told("cut", "--carrier", "lan") == (0, "cut lan carrier: done\n", "")
    assert told("restore") == (0, "restore: done\n", "")
    assert told("restore") == (0, "restore: nothing to do\n", "")


def test_partition_parts_groups(lab: Lab, told: Told) -> None:
    a, b, c = lab
    assert told("partition", "a,b", "c") == (0, "partition a,b c: done\n", "")
    assert reaches(a, b)
    assert in_vain(b, c)
    assert told("restore", "a,b", "c") == (0, "restore a,b c: done\n", "")


def test_kill_and_start_take_several_nodes(lab: Lab, told: Told) -> None:
    a, b, _c = lab
    assert told("kill", "b", "c") == (0, "kill b: done\nkill c: done\n", "")
    assert in_vain(a, b)
    assert told("start", "c", "b", "a") == (0, "start c: done\nstart b: done\nstart a: nothing to do\n", "")
    assert reaches(a, b)


def test_impair_takes_settings_of_both_directions_and_of_one(lab: Lab, told: Told) -> None:
    code, out, err = told("impair", "b", "rate=100mbit", "out.rate=50mbit", "queue=20kB")
    assert (code, err) == (0, "")
    text = "out rate 50mbit, queue 20000B; in rate 100mbit, queue 20000B"
    assert out == f"impair b:eth0 {text}: done\nimpair b:eth1 {text}: done\n"
    assert told("impair", "b:eth1") == (0, "impair b:eth1 no more: done\n", "")
    assert [mark.text for mark in lab.faults().marks][-1] == "impair b:eth1 no more"


def test_settings_are_read_as_in_a_topology_file() -> None:
    assert settings(["delay=10ms", "loss=0.01", "out.loss=1%", "in.delay=1ms"]) == {
        "delay": "10ms",
        "loss": 0.01,
        "out": {"loss": "1%"},
        "in": {"delay": "1ms"},
    }
    with pytest.raises(UsageError, match='found "delay"; an impairment is written like delay=10ms'):
        settings(["delay"])


@pytest.mark.parametrize("words", [("out=5ms", "out.delay=1ms"), ("out.delay=1ms", "out=5ms")])
def test_a_direction_is_not_a_setting_at_the_same_time(words: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=f'found "{words[1]}" beside another "out"'):
        settings(words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cut", "z"), 'no node or network named "z"; there are nodes a, b, c and networks dmz, lan'),
        (("cut", "a", "b", "--carrier"), "a b: a carrier is an interface's"),
        (("partition", "a,b"), "found one group, a,b; a partition is between two at least"),
        (("kill", "z"), 'no node named "z"; this lab has a, b, c'),
        (("start", "lan"), 'no node named "lan"; this lab has a, b, c'),
        (("impair", "lan", "delay=1ms"), 'no node named "lan"; there are a, b, c'),
        (("impair", "a:eth7", "delay=1ms"), 'no interface "eth7" in "a"; it has eth0'),
        (("impair", "a", "dely=1ms"), 'unknown impairment "dely"'),
        (("impair", "a", "delay=1"), "delay: found the number 1"),
        (("cut", "a", "--lab", "no-such-lab"), 'no lab named "no-such-lab" is up'),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    lab: Lab, told: Told, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = told(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lab: ")
    assert message in err
    assert err.count("\n") == 1
    assert lab.faults().cuts == ()


@pytest.mark.parametrize("command", ["cut", "restore", "partition", "kill", "start", "impair"])
def test_each_command_has_its_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "--lab NAME" in capsys.readouterr().out


def test_inspect_shows_what_is_wrong(lab: Lab, told: Told) -> None:
    assert "\ncut: nothing\nkilled: nothing\n" in told("inspect", lab.name)[1]
    lab.cut("a", "b")
    lab.cut("c:eth1", carrier=True)
    lab["c"].kill()
    out = told("inspect", lab.name)[1]
    assert "\ncut: a b; c:eth1 (carrier)\nkilled: c\n" in out
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{6}  kill c$", out, re.MULTILINE)


def test_a_live_capture_prints_marks_among_the_packets(lab: Lab) -> None:
    a, b, _c = lab
    command = [sys.executable, "-P", "-m", "lab.cli", "capture", "--lab", lab.name, "a", "-c", "2", "icmp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as capture:
        assert capture.stderr
        assert capture.stderr.readline() == "capturing on a:eth0\n"
        lab.cut("a", "b")
        assert in_vain(a, b)
        lab.restore()
        assert reaches(a, b)
        out, _err = capture.communicate(timeout=30)
    kinds = [line.split()[1] for line in out.splitlines()]
    assert kinds == ["--", "a:eth0", "--", "a:eth0"]
    assert out.splitlines()[0] == "0.000000 -- cut a b"
