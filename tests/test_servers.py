"""What all of the project's servers have in common (servers/README.md), and that its lists are whole."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from lab import servers
from lab.errors import NotSupportedError
from lab.probes import proc
from lab.running import Lab
from lab.wait import wait_until

PORT = 8000
CLIENTS = {
    *("buffer_client", "chat_client", "connect_nonblocking", "connect_timeout", "daytime_client"),
    *("load_generator", "oob_send"),
}
NO_NETWORK = {
    *("deadlock", "fork_with_lock", "lockers", "message_queue", "pass_fd", "semaphores", "signal_thread"),
    *("tee_file", "timer_bench"),
}
SERVERS = sorted(set(servers.names()) - CLIENTS - NO_NETWORK)
THREADED = ("echo_oneshot", "echo_thread_pool", "lockers", "signal_thread", "web_server")
ORDINARY = 54322  # a user that has no other processes

pytestmark = pytest.mark.topology("two-hosts.yaml", reuse=True)


@pytest.fixture
def needed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """What a server's command line needs beside the port."""
    if request.node.callspec.params["name"] != "balancer":
        return ()
    config = tmp_path / "balancer.conf"
    config.write_text("backend 10.0.1.1:80\n")
    return ("--config", str(config))


@pytest.mark.parametrize("name", servers.names())
def test_help_tells_of_the_options_and_ends_with_0(lab: Lab, name: str) -> None:
    done = lab["right"].run(lab.program(name), "--help").check()
    assert "--help" in done.stdout
    assert name in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", servers.names())
def test_an_unknown_option_is_one_line_and_ends_with_2(lab: Lab, name: str) -> None:
    done = lab["right"].run(lab.program(name), "--no-such-option")
    assert done.exit_code == 2
    assert re.fullmatch(rf'{name}: unknown option "--no-such-option".*\n', done.stderr)


@pytest.mark.parametrize("name", sorted({*SERVERS, *CLIENTS}))
def test_a_port_that_is_none_is_one_line_and_ends_with_2(lab: Lab, name: str, needed: tuple[str, ...]) -> None:
    done = lab["right"].run(lab.program(name), *needed, "--port", "70000")
    assert done.exit_code == 2
    assert re.fullmatch(rf"{name}: --port: .*\n", done.stderr)


@pytest.mark.parametrize("name", sorted({*SERVERS, *CLIENTS} - {"daytime_client"}))
def test_a_host_that_is_no_address_is_one_line_and_ends_with_2(lab: Lab, name: str, needed: tuple[str, ...]) -> None:
    done = lab["right"].run(lab.program(name), *needed, "--port", str(PORT), "--host", "nonsense")
    assert done.exit_code == 2
    assert done.stderr == f'{name}: --host: "nonsense" is no IPv4 or IPv6 address\n'


@pytest.mark.parametrize("name", SERVERS)
def test_a_taken_port_is_one_line_and_ends_with_1(lab: Lab, name: str, needed: tuple[str, ...]) -> None:
    right = lab["right"]
    with right.deploy("backlog", port=PORT):
        done = right.run(lab.program(name), *needed, "--port", str(PORT))
    assert done.exit_code == 1
    assert re.fullmatch(rf"{name}: bind 0\.0\.0\.0:{PORT}: Address already in use\n", done.stderr)


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_server_says_when_it_is_ready_and_ends_with_0_when_it_is_told_to(
    lab: Lab, name: str, number: int, needed: tuple[str, ...]
) -> None:
    right = lab["right"]
    with right.deploy(name, *needed, port=PORT, environment={"LAB_READY_FD": "1"}) as server:
        wait_until(lambda: "\0" in server.stdout, timeout=5, what="the byte that says so")
        server.signal(number)
        assert server.wait(10).exit_code == 0


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_cannot_say_that_it_is_ready_ends_with_1(lab: Lab, name: str, needed: tuple[str, ...]) -> None:
    done = lab["right"].run(
        lab.program(name), *needed, "--port", str(PORT), environment={"LAB_READY_FD": "999"}, timeout=10
    )
    assert done.exit_code == 1
    # The balancer may have found out as well that what is behind it is down.
    assert f"{name}: write LAB_READY_FD: Bad file descriptor" in done.stderr.splitlines()


@pytest.mark.parametrize("name", THREADED)
def test_without_enough_threads_a_program_ends_with_1(lab: Lab, name: str) -> None:
    """Those that it has started already are ended, too."""
    right = lab["right"]
    try:
        ordinary = proc.as_user(right, ORDINARY)
    except NotSupportedError as error:
        pytest.skip(str(error))
    where = () if name in NO_NETWORK else ("--port", str(PORT))
    program = (lab.program(name), *where, "--workers", "8")
    # LeakSanitizer would need a thread of its own.
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    done = right.run(*ordinary, "prlimit", "--nproc=6", *program, environment=environment, timeout=10)
    assert done.exit_code == 1
    assert re.fullmatch(rf"{name}: .*Resource temporarily unavailable\n", done.stderr)


def test_every_program_is_in_the_servers_readme_with_scenarios_that_there_are() -> None:
    text = (servers.SOURCES / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if re.match(r"\| (\d|springsnail)", line)]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row[1])) == servers.names()
    named = {name for row in rows for name in row[3].replace(",", " ").split()}
    assert {name for name in named if not (servers.SOURCES.parent / "scenarios" / f"{name}.py").is_file()} == set()


def test_every_fault_is_some_scenarios_mutant() -> None:
    listed = re.findall(
        r"^mutant\((\w+) (\w+)\)", (servers.SOURCES / "mutants" / "mutants.cmake").read_text(), re.MULTILINE
    )
    scenarios = servers.SOURCES.parent / "scenarios"
    texts = "\n".join(path.read_text(encoding="utf-8") for path in scenarios.glob("test_*.py"))
    assert len(listed) >= 25
    assert [f"{program} {fault}" for program, fault in listed if f'"{fault}"' not in texts] == []
