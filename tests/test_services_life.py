"""Services that start, wait, end, die, hang and come back. As root and as an ordinary user."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.backends.base import RunningProcess
from lab.backends.netns.client import NetnsBackend
from lab.backends.owned import registry
from lab.errors import CommandError, LabError, MissingToolError, UsageError, WaitTimeoutError
from lab.running import Lab
from lab.services import service as service_module
from lab.services import start
from lab.services.kind import Port
from lab.services.service import crashed
from lab.wait import wait_until
from tests.service_labs import BringUp, alone, bring_up, command, get

__all__ = ["bring_up"]
pytest_plugins = ["pytester"]

LISTEN = 'import socket, time; s = socket.create_server(("", {port})); time.sleep(1000)'


def listener(name: str, port: int, *needs: str) -> str:
    """A service that does nothing but listen."""
    return command(sys.executable, "-c", LISTEN.format(port=port), name=name, listens=[port], needs=needs)


def nothing_is_left_of(prefix: str) -> bool:
    """Whether no lab whose name begins so is up, or has left its folder behind."""
    folder = registry.root()
    return not folder.exists() or not list(folder.glob(f"{prefix}*"))


def test_services_start_when_what_they_need_is_ready(bring_up: BringUp) -> None:
    lab = bring_up(
        f"""
name: ordered
nodes:
  one:
    services:
      {listener("last", 1, "two", "one/middle")}
      {listener("middle", 2, "two/first")}
  two:
    services:
      {listener("first", 1)}
      {listener("other", 2)}
"""
    )
    order = [(status.node, status.name) for status in lab.backend.services()]
    assert order == [("two", "first"), ("two", "other"), ("one", "middle"), ("one", "last")]


def test_a_service_whose_need_fails_is_never_started(bring_up: BringUp, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    original = service_module.Service.start

    def note(service: service_module.Service) -> RunningProcess:
        started.append(service.name)
        return original(service)

    monkeypatch.setattr(service_module.Service, "start", note)
    first = command("sh", "-c", "exit 7", name="first", listens=[1])
    with pytest.raises(CommandError, match="web: first: ended with exit code 7 before it was ready"):
        bring_up(alone(f"{listener('second', 2, 'web/first')}\n      {first}"))
    assert started == ["first"]


@pytest.mark.parametrize(
    ("service", "error", "message"),
    [
        (
            command("sh", "-c", r"printf 'no such setting\033[2J\n'; exit 3", listens=[80]),
            CommandError,
            "web: command: ended with exit code 3 before it was ready; its log ends:\n    no such setting\\x1b[2J",
        ),
        (
            command("sh", "-c", "kill -KILL $$", listens=[80]),
            CommandError,
            "web: command: ended by SIGKILL before it was ready; it wrote nothing",
        ),
        (
            command("sh", "-c", "echo begun; kill -STOP $$", listens=[80, "53/udp"]),
            WaitTimeoutError,
            "not ready after 0.3 s: nothing listens on tcp port 80, udp port 53; its log ends:\n    begun",
        ),
        (command("no-such-program"), MissingToolError, "web: command: there is no program no-such-program"),
        ("dnsmasq: {cnames: {a.test: b.test, b.test: a.test}}", CommandError, "CNAME loop involving"),
        ("nginx: {backends: ['nobody:80']}", UsageError, 'web: nginx: no node named "nobody"; this lab has web'),
        (
            "{nginx: {port: 3128}, squid: }",
            UsageError,
            "web: services nginx and squid both want tcp port 3128; give one another port",
        ),
    ],
    ids=["misconfigured", "killed", "wedged", "missing", "refused", "unknown node", "port taken"],
)
def test_a_service_that_does_not_start_fails_the_lab_and_nothing_is_left(
    bring_up: BringUp, monkeypatch: pytest.MonkeyPatch, service: str, error: type[LabError], message: str
) -> None:
    monkeypatch.setattr(start, "READY_WITHIN", 0.3)
    with pytest.raises(error) as raised:
        bring_up(alone(service).replace("services:\n      {", "services: {"))
    assert message in str(raised.value)
    assert nothing_is_left_of(f"alone-{os.getpid()}-")


def test_a_program_that_is_not_installed_names_its_package(bring_up: BringUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.services.service.search_path", lambda: "/nowhere")
    with pytest.raises(MissingToolError, match="web: squid: squid is not installed; install it: apt-get install squid"):
        bring_up(alone("squid: "))


def test_a_port_that_somebody_has_is_told_before_the_service_fails_on_it(bring_up: BringUp) -> None:
    lab = bring_up(alone("nginx: "))
    nginx = lab["web"].services["nginx"]
    nginx.stop()
    with lab["web"].socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("", 80))
        other.listen()
        with pytest.raises(UsageError, match="web: nginx: tcp port 80 is taken already; lab exec web -- ss -lntup"):
            nginx.start()


COUNT = """
import socket, time
listener = socket.create_server(("", 80))
listener.settimeout(0.3)
try:
    listener.accept()
    print("somebody came", flush=True)
except TimeoutError:
    print("nobody came", flush=True)
time.sleep(1000)
"""


def test_readiness_is_seen_in_the_socket_table_and_not_by_a_connection(bring_up: BringUp) -> None:
    lab = bring_up(alone(command(sys.executable, "-c", COUNT, listens=[80])))
    log = lab["web"].services["command"].log
    wait_until(lambda: bool(log.read_text()), timeout=10, what="the server's account")
    assert log.read_text() == "nobody came\n"


def test_a_service_is_stopped_with_all_that_it_has_started(bring_up: BringUp) -> None:
    lab = bring_up(alone(command("sh", "-c", "sleep 1000 & sleep 1000; true")))
    service = lab["web"].services["command"]
    wait_until(lambda: len(lab.backend.processes()) == 3, timeout=5, what="the two that it starts")
    service.stop()
    wait_until(lambda: not lab.backend.processes(), timeout=5, what="their end")
    assert service.status
    assert service.status.exit_code == -signal.SIGTERM
    assert crashed(lab.backend) == []


def test_a_service_that_does_not_listen_to_sigterm_is_killed(
    bring_up: BringUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_STOPS_WITHIN", 0.1)
    lab = bring_up(alone(command("sh", "-c", "trap : TERM; echo ready; while true; do sleep 0.1; done")))
    service = lab["web"].services["command"]
    wait_until(lambda: "ready" in service.log.read_text(), timeout=5, what="the trap")
    service.stop()
    assert service.status
    assert service.status.exit_code == -signal.SIGKILL


@pytest.mark.parametrize("service", ["squid: ", "nginx: {port: 3128}", "dnsmasq: {port: 3128}"])
def test_a_restarted_service_is_another_process_with_the_same_log(bring_up: BringUp, service: str) -> None:
    lab = bring_up(alone(service))
    (running,) = lab["web"].services.values()
    before, log = running.status, running.log.read_text()
    running.restart()
    assert before
    assert running.status
    assert running.status.pid != before.pid
    assert running.status.exit_code is None
    assert running.log.read_text().startswith(log)
    assert len(running.log.read_text()) > len(log)
    assert crashed(lab.backend) == []


def test_a_service_that_fails_to_come_back_says_why(bring_up: BringUp) -> None:
    once = f"[ -e /tmp/ran ] && exit 9; touch /tmp/ran; exec {sys.executable} -c '{LISTEN.format(port=80)}'"
    lab = bring_up(alone(command("sh", "-c", once, listens=[80])))
    with pytest.raises(CommandError, match="web: command: ended with exit code 9 before it was ready"):
        lab["web"].services["command"].restart()


def test_a_service_that_dies_is_told_from_one_that_was_stopped(bring_up: BringUp) -> None:
    lab = bring_up(alone("nginx: \n      squid: "))
    nginx, squid = lab["web"].services.values()
    assert nginx.status
    squid.stop()
    lab["web"].run("kill", "-SEGV", str(nginx.status.pid), cwd="/").check()
    wait_until(lambda: bool(crashed(lab.backend)), timeout=5, what="nginx's end")
    (told,) = crashed(lab.backend)
    assert told.startswith("web: nginx: ended by SIGSEGV; its log ends:\n")
    assert "start worker process" in told
    wait_until(lambda: not lab.backend.processes(), timeout=5, what="the end of its workers")


def test_services_can_be_reached_from_another_client(bring_up: BringUp) -> None:
    lab = bring_up(alone("nginx: "))
    other = Lab(NetnsBackend().attach(lab.name))
    other["web"].services["nginx"].stop()
    assert lab["web"].services["nginx"].status == other["web"].services["nginx"].status
    with contextlib.closing(lab.backend.respawn("web", "nginx")) as process:
        with pytest.raises(UsageError, match='web: service "nginx" runs already'):
            lab.backend.respawn("web", "nginx")
        other["web"].services["nginx"].wait_ready(process)
    assert "This is web." in get(lab["web"], lab["web"].address())


def test_a_service_that_there_is_not_is_told_with_those_that_there_are(bring_up: BringUp) -> None:
    lab = bring_up(alone("nginx: "))
    with pytest.raises(UsageError, match=r'web: no service "squid" was started here \(services: nginx\)'):
        lab.backend.follow("web", "squid")


@pytest.mark.parametrize("path", ["/etc/passwd", "/run/../etc/x", "/run", "relative"])
def test_files_are_written_into_a_nodes_own_folders_only(bring_up: BringUp, path: str) -> None:
    lab = bring_up(alone("nginx: "))
    with pytest.raises(UsageError, match="is not in a folder that a node has for itself"):
        lab.backend.write("web", {path: "text"})
    lab["web"].run("ln", "-s", "/etc", "/run/elsewhere", cwd="/").check()
    with pytest.raises(UsageError, match="is not in a folder that a node has for itself"):
        lab.backend.write("web", {"/run/elsewhere/file": "text"})


def test_what_is_written_is_the_nodes_own(bring_up: BringUp) -> None:
    lab = bring_up(alone("nginx: "))
    lab.backend.write("web", {"/run/a/b/c": "first"})
    lab.backend.write("web", {"/run/a/b/c": "second"})
    assert lab["web"].run("cat", "/run/a/b/c", cwd="/").stdout == "second"
    assert lab["web"].run("stat", "-c", "%a", "/run/a/b/c", cwd="/").stdout == "600\n"
    assert not Path("/run/a/b/c").exists()


def test_port_is_written_as_people_say_it() -> None:
    assert str(Port("udp", 53)) == "udp port 53"


CRASHING = """
import pytest
from lab.wait import wait_until
@pytest.mark.topology("crash.yaml")
def test_it(lab):
    service = lab["web"].services["nginx"]
    {act}
    assert {claim}
"""
KILL = """
    lab["web"].run("kill", "-9", str(service.status.pid), cwd="/").check()
    wait_until(lambda: service.status.exit_code is not None, timeout=5, what="its end")
"""


@pytest.mark.parametrize(
    ("act", "claim", "outcome", "said"),
    [
        (
            KILL,
            "True",
            {"failed": 1},
            ["*a service ended during the test: web: nginx: ended by SIGKILL; its log ends:*"],
        ),
        (KILL, "False", {"failed": 1}, ["*services that ended during the test*", "*web: nginx: ended by SIGKILL*"]),
        ("service.stop()", "True", {"passed": 1}, []),
        ("service.restart()", "True", {"passed": 1}, []),
    ],
    ids=["killed", "killed in a test that fails", "stopped", "restarted"],
)
def test_a_crash_is_reported_with_the_test_that_it_happened_in(
    pytester: pytest.Pytester, act: str, claim: str, outcome: dict[str, int], said: list[str]
) -> None:
    pytester.makefile(".yaml", crash=alone("nginx: "))
    pytester.makepyfile(CRASHING.format(act=act, claim=claim))
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(said)


@pytest.fixture
def lab_command(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Runs `lab`, and takes down what it has brought up."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lab.cli", *arguments], cwd=tmp_path, text=True, capture_output=True, check=False
        )

    yield run
    for name in registry.names():
        if name == f"h-cli-{os.getpid()}":  # others are of tests that run beside this one
            run("down", name)


def test_commands_show_and_restart_services(
    lab_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    name = f"h-cli-{os.getpid()}"
    (tmp_path / "web.yaml").write_text(alone("nginx: \n      squid: ") + "  idle: {}\n")

    assert lab_command("up", "web.yaml", "--name", name).returncode == 0
    inspected = lab_command("inspect", name).stdout
    assert "web   nginx    running" in inspected
    assert "start worker process" in lab_command("logs", "--lab", name, "web", "nginx").stdout
    both = lab_command("logs", "--lab", name, "web").stdout.splitlines()
    assert {line.partition(" | ")[0] for line in both} == {"nginx", "squid"}
    assert lab_command("restart", "--lab", name, "web", "nginx").stdout == "web: nginx is ready\n"
    starts = functools.partial(lab_command, "logs", "--lab", name, "web", "nginx")
    # A server listens a moment before it says so.
    wait_until(
        lambda: starts().stdout.count("start worker processes") == 2, timeout=20, what="the log to tell of two starts"
    )
    wrong = lab_command("logs", "--lab", name, "web", "apache")
    assert (wrong.returncode, wrong.stderr) == (2, 'lab: "web" has no service "apache"; it has nginx, squid\n')
    empty = lab_command("logs", "--lab", name, "idle")
    assert (empty.returncode, empty.stderr) == (2, 'lab: "idle" has no services; nodes that have: web\n')


def test_logs_can_be_followed_until_the_lab_ends(
    lab_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    name = f"h-cli-{os.getpid()}"
    waiting = "mkfifo /tmp/more; echo one; read line < /tmp/more; echo $line; sleep 1000"
    (tmp_path / "web.yaml").write_text(alone(command("sh", "-c", waiting)))
    assert lab_command("up", "web.yaml", "--name", name).returncode == 0

    arguments = [sys.executable, "-m", "lab.cli", "logs", "--lab", name, "web", "-f"]
    with subprocess.Popen(arguments, text=True, stdout=subprocess.PIPE) as following:
        assert following.stdout
        assert following.stdout.readline() == "one\n"
        lab_command("exec", "--lab", name, "web", "--", "sh", "-c", "echo two > /tmp/more")
        assert following.stdout.readline() == "two\n"
        lab_command("down", name)
        assert following.stdout.read() == ""
        assert following.wait(10) == 0


def test_lab_up_says_in_a_few_lines_what_did_not_start(
    lab_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    name = f"h-cli-{os.getpid()}"
    (tmp_path / "web.yaml").write_text(alone(command("sh", "-c", "echo no luck; exit 3", listens=[80])))
    done = lab_command("up", "web.yaml", "--name", name)
    assert done.returncode == 1
    assert done.stderr == (
        "lab: web: command: ended with exit code 3 before it was ready; its log ends:\n    no luck\n"
    )
    assert nothing_is_left_of(name)


def test_a_lab_goes_when_who_brings_it_up_is_killed_while_services_start(tmp_path: Path) -> None:
    name = f"h-cli-{os.getpid()}"
    (tmp_path / "web.yaml").write_text(alone(command("sh", "-c", "echo begun; sleep 1000", listens=[80])))
    with subprocess.Popen([sys.executable, "-m", "lab.cli", "up", "web.yaml", "--name", name], cwd=tmp_path) as up:
        log = registry.root() / name / "logs" / "web" / "command.log"
        wait_until(lambda: log.exists() and "begun" in log.read_text(), timeout=10, what="the service's start")
        up.kill()
    wait_until(lambda: nothing_is_left_of(name), timeout=5, what="the lab's end")
