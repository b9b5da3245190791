"""`lab exec` and `lab shell`: the program has the caller's terminal, input, environment, signals and exit code."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.wait import wait_until
from tests.terminal import CTRL_BACKSLASH, CTRL_C, CTRL_D, CTRL_Z, Terminal
from tests.users import KINDS, LAB, User, become

# Names that mean something on the way into a node, or on some way or other in a shell.
NAMES = (
    *("lab", "name", "node", "net", "mount", "uts", "ipc", "own", "tool", "found", "script", "python", "code"),
    *("where", "may", "owner", "user", "waiter", "setpriv", "OPTIND", "PPID", "IFS", "UID"),
)
SETTINGS = {name: f"its own {name}" for name in NAMES}
TOPOLOGY = f"""\
name: places
networks:
  lan: {{subnet: 10.0.1.0/24}}
nodes:
  near:
    networks: {{lan: }}
    environment: {{COLOUR: "dark green", SHAPE: round}}
  far:
    networks: {{lan: }}
  odd:
    networks: {{lan: }}
    environment: {json.dumps(SETTINGS | {"PATH": "/opt/bin"})}
"""
# Says when it is there, and how it is ended.
WATCHER = """
import signal, sys
def tell(number, _frame):
    print(f"got {signal.Signals(number).name}", flush=True)  # in one piece, lest the terminal's echo come in between
    if number == signal.SIGTERM:
        sys.exit(5)
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(number, tell)
print("watching", flush=True)
while True:
    signal.pause()
"""
# `lab exec` has two ways in: the command's own short cut, and Python's where the shell cannot choose.
WAYS = {"the command": [LAB], "Python": [sys.executable, "-P", "-m", "lab.cli"]}

# Each shows one `ready>` when it waits for a line; the start-up files of bash often set PS1 anew.
PROMPTS = {"bash": ["env", "PS1=", "PROMPT_COMMAND=printf ready\\>"], "sh": ["env", "PS1=ready>"]}
# Answers a line with what is not the line's own echo: "<once>".
ANSWERER = ("sed", "-u", "'s/.*/<&>/'")

Enter = Callable[..., list[str]]


@pytest.fixture(scope="module", params=KINDS)
def user(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Each in turn, for all tests here: they share a lab."""
    with become(request.param, tmp_path_factory.mktemp("user")) as someone:
        yield someone


@pytest.fixture(scope="module")
def name(user: User) -> Iterator[str]:
    """The name of a lab that is up."""
    file = user.temporary / "places.yaml"
    file.write_text(TOPOLOGY)
    file.chmod(0o644)
    name = user.up(str(file))
    yield name
    assert user.lab("down", name).returncode == 0
    assert user.processes() == {}


@pytest.fixture(params=list(WAYS))
def enter(request: pytest.FixtureRequest, name: str) -> Enter:
    """Return the command line that runs a program in node `near`."""
    return lambda *program: [*WAYS[request.param], "exec", "--lab", name, "near", "--", *program]


def state(user: User, program: str) -> str:
    """Return the state of the user's only process of this name, as proc_pid_stat(5) tells it; "" if there is none."""
    found = [process for process, line in user.processes().items() if line.startswith(program + " ")]
    return Path(f"/proc/{found[0]}/stat").read_text().rpartition(") ")[2][0] if found else ""


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -TERM $$", 143)],
)
def test_the_exit_code_is_the_programs_and_128_and_more_for_a_signal(
    user: User, enter: Enter, script: str, code: int
) -> None:
    assert user.run(*enter(*shell(script))).returncode == code


def test_a_program_that_dies_of_ctrl_c_takes_the_command_along_so_that_a_loop_ends(user: User, enter: Enter) -> None:
    assert user.run(*enter(*shell("kill -INT $$"))).returncode == -signal.SIGINT


def test_a_pipe_goes_through_the_program_byte_for_byte(user: User, enter: Enter) -> None:
    data = bytes(range(256)) * 4096
    done = user.run(*enter("cat"), input=data, text=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")


def test_output_and_complaints_stay_apart(user: User, enter: Enter) -> None:
    done = user.run(*enter(*shell("echo out; echo err >&2")))
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_arguments_arrive_as_they_were_given(user: User, enter: Enter) -> None:
    given = ["", " ", "a b", "*", "$HOME", '"', "'", "--", "-x", "line\nline", "ü"]
    script = "import sys; print(sys.argv[1:])"
    assert user.run(*enter(sys.executable, "-c", script, *given)).stdout == f"{given}\n"


def test_the_environment_is_the_callers_with_the_nodes_own_on_top(user: User, enter: Enter) -> None:
    mine = {**user.environment, "FLAVOUR": "salt & pepper", "SHAPE": "square"}
    theirs = _environment(user, *enter("env", "-0"), env=mine)
    assert (theirs["COLOUR"], theirs["SHAPE"], theirs["FLAVOUR"]) == ("dark green", "round", "salt & pepper")
    by_shells = {"PWD", "OLDPWD", "_", "SHLVL"}
    assert {key for key in mine if key not in by_shells and theirs.get(key) != mine[key]} == {"SHAPE"}


def _environment(user: User, *program: str, **options: Any) -> dict[str, str]:
    """Run what prints its environment as `env -0` does, and return that."""
    done = user.run(*program, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(setting.split("=", 1) for setting in done.stdout.rstrip("\0").split("\0"))


@pytest.mark.parametrize("way", [*WAYS, "the command that asks Python"])
def test_a_variable_of_the_callers_may_have_any_name(user: User, name: str, way: str) -> None:
    by_shells = {"OPTIND", "PPID", "IFS", "UID"}
    mine = {key: value for key, value in SETTINGS.items() if key not in by_shells}
    command = [*WAYS[way], "exec", "--lab", name] if way in WAYS else [LAB, "exec", f"--lab={name}"]
    theirs = _environment(user, *command, "near", "--", "env", "-0", env=user.environment | mine)
    assert {key: theirs.get(key) for key in mine} == mine


@pytest.mark.parametrize("way", WAYS)
def test_a_variable_of_the_nodes_may_have_any_name(user: User, name: str, way: str) -> None:
    theirs = _environment(user, *WAYS[way], "exec", "--lab", name, "odd", "--", "/usr/bin/env", "-0")
    assert {key: theirs.get(key) for key in SETTINGS} == SETTINGS
    assert theirs["PATH"] == "/opt/bin"


def test_a_program_is_looked_for_where_the_nodes_own_path_leads(user: User, name: str) -> None:
    done = user.lab("exec", "--lab", name, "odd", "--", "env")
    assert done.returncode == 127
    assert "env: No such file or directory" in done.stderr


def test_a_program_starts_in_the_callers_folder_or_says_that_the_node_has_none_such(user: User, enter: Enter) -> None:
    assert user.run(*enter("pwd"), cwd="/usr").stdout == "/usr\n"
    elsewhere = user.run(*enter("pwd"), cwd=_folder_of_the_machine_alone(user))
    assert elsewhere.stdout == "/\n"
    assert "near does not see" in elsewhere.stderr


def _folder_of_the_machine_alone(user: User) -> Path:
    folder = user.temporary.parent / "alone"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return folder


def test_what_is_not_there_is_named(user: User, name: str) -> None:
    node = user.lab("exec", "--lab", name, "nowhere", "--", "true")
    assert (node.returncode, node.stderr) == (2, f'lab: no node named "nowhere"; lab {name} has near, far, odd\n')
    # Not the caller's own PATH: a folder there that the user cannot enter would have it said "Permission denied".
    environment = {**user.environment, "PATH": "/usr/bin:/bin"}
    program = user.lab("exec", "--lab", name, "near", "--", "no-such-program", env=environment)
    assert program.returncode == 127
    assert "no-such-program: No such file or directory" in program.stderr
    nothing = user.lab("exec", "--lab", name, "near")
    assert nothing.returncode == 2
    assert "no program to run" in nothing.stderr


@pytest.fixture
def hangups() -> Iterator[None]:
    """Programs are ended by SIGHUP, even if the tests run under nohup, which they would hand on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_program_ends_with_the_command_that_runs_it(user: User, enter: Enter, number: signal.Signals) -> None:
    with subprocess.Popen(
        user.command(*enter(sys.executable, "-c", WATCHER)), env=user.environment, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == "watching\n"
        running.send_signal(number)
        goes_on = not select.select([running.stdout], [], [], 20)[0]
        if goes_on:
            running.kill()
        assert not goes_on
        assert running.stdout.readline() == "got SIGTERM\n"
        assert running.wait(20) == -number
    wait_until(lambda: not [line for line in user.processes().values() if "watching" in line], timeout=20, what="it")


def test_a_program_has_the_callers_terminal(user: User, enter: Enter) -> None:
    script = (
        "import os, sys; size = os.get_terminal_size();"
        "print([stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)], size.lines, size.columns);"
        "print('tty is', os.open('/dev/tty', os.O_RDWR) > 2); print('heard', input())"
    )
    with Terminal(user, enter(sys.executable, "-c", script), rows=33, columns=111) as terminal:
        terminal.expect("[True, True, True] 33 111")
        terminal.expect("tty is True")
        terminal.write("you\n")
        terminal.expect("heard you")
        assert terminal.wait() == 0


def test_ctrl_c_reaches_the_program_alone_which_may_go_on(user: User, enter: Enter) -> None:
    with Terminal(user, enter(sys.executable, "-c", WATCHER)) as terminal:
        terminal.expect("watching")
        terminal.write(CTRL_C)
        terminal.expect("got SIGINT")
        terminal.write(CTRL_BACKSLASH)
        terminal.expect("got SIGQUIT")
        assert terminal.program.poll() is None
        terminal.write(CTRL_C)
        terminal.expect("got SIGINT")
        terminal.program.terminate()
    wait_until(lambda: not [line for line in user.processes().values() if "watching" in line], timeout=20, what="it")


def test_ctrl_c_ends_a_program_that_does_not_mind_it_with_130(user: User, enter: Enter) -> None:
    with Terminal(user, [*enter(*shell("echo here; exec sleep 1234"))]) as terminal:
        terminal.expect("here")
        wait_until(lambda: "sleep 1234 " in user.processes().values(), timeout=20, what="the program")
        terminal.write(CTRL_C)
        assert terminal.wait() in (130, -signal.SIGINT)


def test_a_program_can_be_stopped_and_continued_from_the_callers_shell(user: User, enter: Enter) -> None:
    with _job_shell(user) as terminal:
        terminal.write(" ".join(enter(*ANSWERER)) + "\n")
        terminal.write("once\n")
        terminal.expect("<once>")
        terminal.write(CTRL_Z)
        wait_until(lambda: state(user, "sed") == "T", timeout=20, what="the program to stop")
        terminal.expect("ready>")
        terminal.write("fg\n")
        terminal.write("again\n")
        terminal.expect("<again>")
        terminal.write(CTRL_D)
        terminal.expect("ready>")
        terminal.write("echo code=$?\n")
        terminal.expect("code=0")


def test_a_lab_goes_down_although_a_program_in_it_is_stopped(user: User, enter: Enter, name: str) -> None:
    with _job_shell(user) as terminal:
        terminal.write(" ".join(enter(*ANSWERER)) + "\n")
        terminal.write("once\n")
        terminal.expect("<once>")
        terminal.write(CTRL_Z)
        wait_until(lambda: state(user, "sed") == "T", timeout=20, what="the program to stop")
        terminal.expect("ready>")
        terminal.write(f"{LAB} down {name} && {LAB} up {user.temporary}/places.yaml --name {name}\n")
        terminal.expect(f"{name} is down")
        terminal.expect(f"{name} is up")


def _job_shell(user: User) -> Terminal:
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("no bash (apt-get install bash) to stop and continue jobs with")
    terminal = Terminal(user, [*PROMPTS["bash"], bash, "--norc", "--noprofile", "--noediting", "-i"])
    terminal.expect("ready>")
    return terminal


@pytest.mark.parametrize("program", ["bash", "sh"])
def test_a_shell_in_a_node_is_the_users_own_and_interactive(user: User, name: str, program: str) -> None:
    path = shutil.which(program)
    if not path:
        pytest.skip(f"no {program} here")
    with Terminal(user, [*PROMPTS[program], f"SHELL={path}", LAB, "shell", "--lab", name, "near"]) as terminal:
        terminal.expect("ready>")
        terminal.write("hostname; echo $COLOUR; ps -o comm= -p $$\n")
        terminal.expect("near\r\n")
        terminal.expect(f"dark green\r\n{program}")
        terminal.expect("ready>")
        terminal.write("sleep 1234\n")
        wait_until(lambda: state(user, "sleep") == "S", timeout=20, what="the program to run")
        terminal.write(CTRL_C)
        terminal.expect("ready>")
        terminal.write("sleep 1234\n")
        wait_until(lambda: state(user, "sleep") == "S", timeout=20, what="the program to run")
        terminal.write(CTRL_Z)
        wait_until(lambda: state(user, "sleep") == "T", timeout=20, what="the program to stop")
        terminal.expect("ready>")
        terminal.write("fg\n")
        wait_until(lambda: state(user, "sleep") == "S", timeout=20, what="the program to go on")
        terminal.write(CTRL_C)
        terminal.expect("ready>")
        terminal.write("exit 9\n")
        # dash wants to give the terminal back to a process group that it cannot name from within its PID namespace.
        assert terminal.wait() in ({9} if program == "bash" else {9, 2})


def test_a_shell_that_is_not_there_is_replaced_by_one_that_is(user: User, name: str) -> None:
    done = user.lab("shell", "--lab", name, "far", input="hostname\n", env={**user.environment, "SHELL": "/nowhere"})
    assert (done.returncode, done.stdout) == (0, "far\n")


def test_the_command_that_is_installed_is_the_one_of_this_tree() -> None:
    """It is copied when the project is installed; an old copy would be tested here in its place."""
    current = Path(__file__).parent.parent / "lab" / "cli" / "lab"
    assert Path(LAB).read_text() == current.read_text(), "install it anew: uv sync --reinstall-package lab"
    assert os.access(LAB, os.X_OK)
