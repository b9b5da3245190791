"""Promise 8: what the machine or the user lacks is said in one line, with the right exit code, and leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab.command import find_tool
from lab.errors import MissingToolError
from tests import ordinary_user
from tests.users import LAB, REDIRECT, User

NOWHERE = "/nowhere"


@pytest.fixture
def stranger(user: User) -> User:
    """The ordinary user alone."""
    if user.is_root:
        pytest.skip("root needs no permission")
    return user


def said_in_one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("lab: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("lab: ").strip()


def own_folder(user: User, script: str, *arguments: str) -> None:
    assert user.run("sh", "-ec", script, "sh", *arguments).returncode == 0


def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(stranger: User) -> None:
    own_folder(stranger, 'chmod 500 "$1"', str(stranger.labs.parent))
    line = said_in_one_line(stranger.lab("up", REDIRECT), 1)
    assert line == (
        f"cannot keep the lab's state in {stranger.labs}: Permission denied; "
        "free it or set XDG_RUNTIME_DIR to another folder"
    )
    assert stranger.processes() == {}


def test_a_runtime_folder_that_is_not_there_is_named_with_what_to_do(stranger: User) -> None:
    environment = {**stranger.environment, "XDG_RUNTIME_DIR": NOWHERE}
    line = said_in_one_line(stranger.lab("up", REDIRECT, env=environment), 1)
    assert line.startswith(f"cannot keep the lab's state in {NOWHERE}/lab: ")
    assert stranger.lab("ls", env=environment).returncode == 0


@pytest.mark.parametrize("command", [["up", REDIRECT], ["ls"], ["exec", "host", "--", "true"], ["down", "x"]])
@pytest.mark.parametrize(
    ("trick", "script"),
    [
        ("a link", 'mkdir -m 700 "$1.real"; ln -s "$1.real" "$1"'),
        ("a folder that others can enter", 'mkdir -m 755 "$1"'),
        ("a file", 'touch "$1"'),
    ],
)
def test_a_folder_of_labs_that_others_could_have_made_is_not_trusted(
    stranger: User, trick: str, script: str, command: list[str]
) -> None:
    environment = {name: value for name, value in stranger.environment.items() if name != "XDG_RUNTIME_DIR"}
    uid = os.geteuid() or ordinary_user.UID
    folder = stranger.temporary / f"lab-{uid}"
    own_folder(stranger, script, str(folder))
    line = said_in_one_line(stranger.lab(*command, env=environment), 1)
    assert line == f"{folder} must be a folder of uid {uid} with mode 0700; remove it or set XDG_RUNTIME_DIR", trick


@pytest.mark.parametrize("command", [["up", REDIRECT], ["ls"], ["exec", "host", "--", "true"]])
def test_a_folder_of_labs_that_belongs_to_somebody_else_is_not_trusted(stranger: User, command: list[str]) -> None:
    if os.geteuid():
        pytest.skip("needs root, to make a folder that belongs to somebody else")
    stranger.labs.mkdir(mode=0o700)
    line = said_in_one_line(stranger.lab(*command), 1)
    uid = ordinary_user.UID
    assert line == f"{stranger.labs} must be a folder of uid {uid} with mode 0700; remove it or set XDG_RUNTIME_DIR"


def test_a_program_that_another_user_left_among_the_labs_is_never_run(user: User) -> None:
    """Root may have an ordinary user's XDG_RUNTIME_DIR (su), and an ordinary user a folder that others can write."""
    if os.geteuid():
        pytest.skip("needs root, to make a folder that belongs to somebody else")
    runtime = user.temporary / "runtime"
    trap = runtime / "lab" / "trap"
    trap.mkdir(parents=True)
    (trap / "enter").write_text("#!/bin/sh\necho trapped\n")
    (trap / "enter").chmod(0o755)
    for path in (trap / "enter", trap, trap.parent, runtime):
        os.chown(path, 1234, 1234)
    user.temporary.chmod(0o755)
    environment = {**user.environment, "XDG_RUNTIME_DIR": str(runtime)}
    done = user.lab("exec", "--lab", "trap", "host", "--", "true", env=environment)
    assert done.stdout == ""
    assert done.returncode in (1, 2)


def test_labs_of_other_users_are_not_seen(user: User) -> None:
    """Neither by their names, nor by `lab exec` and `lab down`."""
    if os.geteuid():
        pytest.skip("needs root, to be two users")
    name = user.up()
    with ordinary_user.environment() as theirs:
        # Who becomes root by `su` keeps the ordinary user's XDG_RUNTIME_DIR.
        other = replace(user, is_root=not user.is_root, environment=theirs if user.is_root else user.environment)
        listed = {lab["name"] for lab in json.loads(other.lab("ls", "--format", "json").stdout)}
        assert name not in listed
        for command in (["exec", "--lab", name, "host", "--", "true"], ["inspect", name], ["down", name]):
            assert f'no lab named "{name}" is up' in said_in_one_line(other.lab(*command), 2)
    assert user.lab("exec", "--lab", name, "host", "--", "true").returncode == 0
    assert user.lab("down", name).returncode == 0


def test_a_missing_nsenter_is_named_with_its_package(user: User) -> None:
    name = user.up()
    environment = {**user.environment, "PATH": NOWHERE}
    for module in ([LAB], [sys.executable, "-P", "-m", "lab.cli"]):
        done = user.run(*module, "exec", "--lab", name, "host", "--", "true", env=environment)
        assert said_in_one_line(done, 3) == "nsenter is not installed; install it: apt-get install util-linux"
    assert user.lab("down", name, env=environment).returncode == 0


def test_a_missing_tcpdump_is_named_with_its_package(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", NOWHERE)
    try:
        find_tool("tcpdump")
    except MissingToolError:
        pass
    else:
        pytest.skip("tcpdump is where root's programs are, which PATH does not hide")
    monkeypatch.undo()
    name = user.up()
    done = user.lab("capture", "--lab", name, "host", "icmp", "-c1", env={**user.environment, "PATH": NOWHERE})
    assert said_in_one_line(done, 3) == "tcpdump is not installed; install it: apt-get install tcpdump"
    assert user.lab("down", name).returncode == 0


@pytest.mark.parametrize("kind", ["user", "pid"])
def test_a_user_who_may_not_make_namespaces_is_sent_to_the_doctor(stranger: User, kind: str) -> None:
    """Forbidden in a user namespace of the user's own, so that the machine's own limit stays as it is."""
    forbid = f"echo 0 >/proc/sys/user/max_{kind}_namespaces; "
    drop = f'exec {find_tool("setpriv")} --inh-caps=-all --ambient-caps=-all -- "$@"'
    nested = [find_tool("unshare"), "--user", "--map-current-user", "--keep-caps", "sh", "-c", forbid + drop, "sh"]
    done = stranger.run(*nested, LAB, "up", REDIRECT)
    line = said_in_one_line(done, 3)
    assert line.startswith("this user may not make namespaces (")
    assert "`lab doctor` says what would allow it" in line
    assert stranger.processes() == {}
    assert not stranger.labs.exists()


def test_a_lab_that_is_not_up_is_said_with_those_that_are(user: User) -> None:
    name = user.up()
    for command in (["exec", "--lab", "atlantis", "host", "--", "true"], ["inspect", "atlantis"], ["down", "atlantis"]):
        line = said_in_one_line(user.lab(*command), 2)
        assert line.startswith('no lab named "atlantis" is up (running: ')
        assert name in line
    assert user.lab("down", name).returncode == 0


def test_the_ordinary_user_of_these_tests_has_no_power(stranger: User) -> None:
    status = dict(line.split(":\t") for line in stranger.run("cat", "/proc/self/status").stdout.splitlines())
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapInh"], 16) == 0
    assert "0" not in status["Uid"].split()
    assert os.geteuid() or status["Groups"].split() in ([], [str(ordinary_user.UID)])


def test_the_ordinary_user_reaches_a_project_that_only_root_can_enter(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root, to hide a folder")
    hidden = tmp_path / "hidden"
    for folder in (hidden, hidden / "below" / "deep"):
        folder.mkdir(parents=True)
        (folder / "text").write_text(f"in {folder.name}")
    hidden.chmod(0o700)
    for folder, text in ((hidden, "in hidden"), (hidden / "below" / "deep", "in deep")):
        command = ordinary_user.command("cat", str(folder / "text"), show=[folder])
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ordinary_user.PROJECT)
        assert (done.stdout, done.stderr) == (text, "")
    refused = subprocess.run(ordinary_user.command("cat", str(hidden / "text")), check=False, capture_output=True)
    assert refused.returncode == 1
