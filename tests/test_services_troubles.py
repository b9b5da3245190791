"""Every kind of service in trouble: killed, hung, misconfigured, its port taken.

script/test runs all of it as root and as an ordinary user.

Each time one message tells of it, with the end of the service's log, and nothing is left of the lab.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.backends.base import RunningLab, RunningProcess
from lab.backends.owned import registry
from lab.backends.owned.handle import OwnedLab
from lab.errors import CommandError, LabError, TopologyError, UsageError, WaitTimeoutError
from lab.services import service as service_module
from lab.services import start
from lab.services.service import crashed
from lab.services.table import KINDS
from lab.wait import wait_until
from tests.machine import holders, namespaces_of, ticks
from tests.service_labs import BringUp, alone, bring_up, command

__all__ = ["bring_up"]

LISTEN = """
import socket, time
listeners = [socket.create_server(("", port)) for port in {ports}]
print("I listen", flush=True)
time.sleep(1000)
"""
REFERENCE = "echo_epoll"


def listener(*ports: int) -> list[str]:
    return [sys.executable, "-c", LISTEN.format(ports=ports)]


# The fewest options that each can do with, the TCP port on which it then listens, and what it says when it does.
SERVICES: dict[str, tuple[dict[str, Any], int, str]] = {
    "command": ({"run": listener(80), "listens": [80]}, 80, "I listen"),
    "dnsmasq": ({}, 53, "started, version"),
    "haproxy": ({"backends": ["web:81"]}, 80, ""),
    "iperf3": ({}, 5201, "Server listening on 5201"),
    "nginx": ({}, 80, "start worker process "),
    "squid": ({}, 3128, "Accepting HTTP Socket connections"),
    "sshd": ({}, 22, "Server listening on 0.0.0.0 port 22."),
    "xinetd": ({"ports": {"7": ["/bin/cat"]}}, 7, "Started working: 1 available service"),
    REFERENCE: ({}, 80, ""),
}
# A mistake that its options let one make, or else a line of nonsense in what is written for it; and what it says.
NONSENSE = "nonsense on;\n"
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "command": ({"run": ["ls", "--nonsense"]}, "unrecognized option '--nonsense'"),
    "dnsmasq": ({"cnames": {"a.test": "b.test", "b.test": "a.test"}}, "CNAME loop involving"),
    "haproxy": ({"backends": ["web:81", "web:81"]}, "another server named 'web:81' was already defined"),
    "nginx": ({}, 'unknown directive "nonsense"'),
    "squid": ({}, "unrecognized: 'nonsense'"),
    "sshd": ({}, "Bad configuration option: nonsense"),
    REFERENCE: ({"arguments": ["--nonsense"]}, 'unknown option "--nonsense"'),
}
every_kind = pytest.mark.parametrize("kind", SERVICES)


def service(kind: str, **options: Any) -> str:
    """A service of this kind as a topology has it, with further options."""
    return f"{kind}: {json.dumps({**SERVICES[kind][0], **options})}"


def said_once(error: LabError) -> str:
    """Return an error's message, which must be one line, and behind it nothing but lines of a log."""
    first, *log = str(error).splitlines()
    assert all(line.startswith("    ") for line in log)
    assert bool(log) == first.endswith("its log ends:")
    return str(error)


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test if anything is left of a lab in which it has started services: a folder, or a process."""
    names: set[str] = set()
    namespaces: set[str] = set()
    ended: list[int] = []
    begin, end = start.start, OwnedLab.down

    def note(name: str) -> None:
        names.add(name)
        namespaces.update(namespaces_of(registry.owner_of(name)["owner"]))
        ended.append(ticks())

    def starting(lab: RunningLab, on_step: Callable[[str], None]) -> None:
        try:
            begin(lab, on_step)
        finally:
            note(lab.plan.name)

    def ending(lab: OwnedLab, timeout: float = 30.0) -> None:
        note(lab.name)
        end(lab, timeout)

    def left() -> set[str]:
        folders = {name for name in names if (registry.root() / name).exists()}
        return folders | (holders(namespaces, ended[-1]) if names else set())

    monkeypatch.setattr(start, "start", starting)
    monkeypatch.setattr(OwnedLab, "down", ending)
    yield
    # Other tests' labs come up meanwhile, and the kernel may give a namespace's number to one of theirs.
    wait_until(lambda: not left(), timeout=5, what="the end of all that the labs had")


def test_every_kind_is_brought_into_trouble_here() -> None:
    assert set(SERVICES) == {*KINDS, REFERENCE}
    assert {*MISTAKES, "iperf3", "xinetd"} == set(SERVICES)


@every_kind
def test_a_service_that_is_killed_is_told_of_and_comes_back(bring_up: BringUp, kind: str) -> None:
    last_words = SERVICES[kind][2]
    lab = bring_up(alone(service(kind)))
    running = lab["web"].services[kind]
    assert running.status
    wait_until(lambda: last_words in running.log.read_text(), timeout=10, what="what it says when it is ready")
    lab["web"].run("kill", "-KILL", str(running.status.pid), cwd="/").check()
    wait_until(lambda: bool(crashed(lab.backend)), timeout=5, what="its end")
    (told,) = crashed(lab.backend)
    ending = "its log ends:" if last_words else "it wrote nothing"
    assert told.splitlines()[0] == f"web: {kind}: ended by SIGKILL; {ending}"
    assert last_words in told
    wait_until(lambda: not lab.backend.processes(), timeout=5, what="the end of all that it has started")
    running.restart()
    assert crashed(lab.backend) == []


@every_kind
def test_a_service_that_hangs_is_restarted_all_the_same_and_goes_with_its_lab(
    bring_up: BringUp, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(service_module, "_STOPS_WITHIN", 0.1)
    lab = bring_up(alone(service(kind)))
    running = lab["web"].services[kind]
    before = running.status
    assert before
    running.signal(signal.SIGSTOP)
    running.restart()
    now = running.status
    assert now
    assert (now.pid != before.pid, now.exit_code) == (True, None)
    wait_until(
        lambda: before.pid not in {one["pid"] for one in lab.backend.processes()}, timeout=5, what="the first one's end"
    )
    running.signal(signal.SIGSTOP)


def lose_patience_at(word: str, monkeypatch: pytest.MonkeyPatch, halt: tuple[str, ...] = ()) -> None:
    """Have whoever waits for services give up when one has said a word.

    Args:
        halt: a program that each service's own is given to, with its arguments.
    """
    spawn = OwnedLab.spawn

    def spawn_and_listen(lab: OwnedLab, node: str, arguments: list[str], **options: Any) -> RunningProcess:
        process = spawn(lab, node, [*halt, *arguments], **options)
        log = lab.folder / "logs" / node / f"{options['service']}.log"
        wait_until(lambda: word in log.read_text(), timeout=10, what=f'the word "{word}"')
        return process

    monkeypatch.setattr(OwnedLab, "spawn", spawn_and_listen)
    monkeypatch.setattr(start, "READY_WITHIN", 0.1)


@every_kind
def test_a_service_that_never_listens_fails_the_lab(
    bring_up: BringUp, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    lose_patience_at("begun", monkeypatch, ("/bin/sh", "-c", 'echo begun; kill -STOP $$; exec "$0" "$@"'))
    with pytest.raises(WaitTimeoutError) as raised:
        bring_up(alone(service(kind)))
    message = said_once(raised.value)
    assert message.startswith(f"web: {kind}: not ready after 0.1 s: nothing listens on ")
    assert f"tcp port {SERVICES[kind][1]}; its log ends:\n    begun" in message


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_service_that_refuses_its_configuration_fails_the_lab(
    bring_up: BringUp, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    options, complaint = MISTAKES[kind]
    if not options:
        module = importlib.import_module(f"lab.services.{kind}")
        monkeypatch.setattr(module, "_CONFIGURATION", module._CONFIGURATION + NONSENSE)
    with pytest.raises(CommandError) as raised:
        bring_up(alone(service(kind, **options)))
    message = said_once(raised.value)
    assert message.startswith(f"web: {kind}: ended with exit code ")
    assert " before it was ready; its log ends:\n" in message
    assert complaint in message


def test_xinetd_which_stays_without_a_single_port_fails_the_lab_and_says_why(
    bring_up: BringUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_patience_at("Started working: 0 available services", monkeypatch)
    with pytest.raises(WaitTimeoutError) as raised:
        bring_up(alone(service("xinetd", ports={"7": ["/no/such/program"]})))
    message = said_once(raised.value)
    assert message.startswith("web: xinetd: not ready after 0.1 s: nothing listens on tcp port 7; its log ends:\n")
    assert "Server /no/such/program is not executable" in message


def test_iperf3_which_has_no_configuration_is_refused_its_port_before_anything_starts(
    bring_up: BringUp,
) -> None:
    with pytest.raises(TopologyError, match=r"web\.services\.iperf3\.port: found the number 70000; the most is 65535"):
        bring_up(alone(service("iperf3", port=70_000)))


@every_kind
def test_a_port_that_another_program_has_fails_the_lab(bring_up: BringUp, kind: str) -> None:
    port = SERVICES[kind][1]
    other = command(*listener(port, 9), name="other", listens=[9])  # and says nothing of the first
    with pytest.raises(UsageError) as raised:
        bring_up(alone(f"{other}\n      {service(kind, needs=['web/other'])}"))
    assert said_once(raised.value) == (
        f"web: {kind}: tcp port {port} is taken already; services that run in web: other"
    )
