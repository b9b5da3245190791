"""A server is told to stop while a load is on it: what has begun is completed, and everybody else is refused.

left (load generator) ── lan ── right (web server), and
client1 (load generator) ── front ── balancer ── back ── web1, web2, web3 (web servers)
"""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.mutants import faulty
from lab.node import Node
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true

PORT = 8080
CONNECTIONS = 4
CONFIG = "/run/balancer.conf"
BACKENDS = ("web1", "web2", "web3")


@contextmanager
def serving(node: Node, site: Path, log: Path) -> Iterator[Process]:
    """A web server with a log, which has a line for each request from the moment at which it is answered."""
    options = ("--root", str(site), "--access-log", str(log), "--drain-timeout", "60")
    with node.deploy("web_server", *options, port=PORT) as server:
        yield server


def loading(lab: Lab, client: str, host: str, *options: str) -> Process:
    """A load of files that are so large that some are on their way at any moment; it goes on until it is stopped."""
    where = ("--host", host, "--port", str(PORT), "--path", "/large.bin")
    patience = ("--duration", "3600", "--timeout", "60")
    program = lab.program("load_generator")
    return lab[client].start(program, *where, "--connections", str(CONNECTIONS), *patience, *options)


def begun(*logs: Path) -> int:
    """How many requests were answered, or have been begun to be."""
    return sum(log.read_text().count('" 200 ') for log in logs if log.exists())


def stopped_under(load: Process, client: Node, server: Process) -> Any:
    """Stop a server, then, when clients are refused, the load on it; return what became of its requests."""
    server.signal(signal.SIGTERM)
    assert server.wait(timeout=60).exit_code == 0
    before = client.counters()["TcpAttemptFails"]
    assert comes_true(lambda: client.counters()["TcpAttemptFails"] >= before + CONNECTIONS)
    return json.loads(load.stop().check().stdout)


def assert_nothing_was_lost(found: Any, requests_begun: int) -> None:
    """Each request is answered in full or was not begun.

    Those that were not begun are refused, but for one on each connection at most, which was on its way at the moment
    of the stop: it finds a connection that has just been closed.
    """
    errors = found["errors"]
    assert found["answered"] == requests_begun
    assert errors["connect"] > 0
    assert errors["reset"] + errors["incomplete"] <= CONNECTIONS
    assert (errors["timeout"], errors["status"], errors["malformed"]) == (0, 0, 0)


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("15.6")
@pytest.mark.mutant("it stops where it is", faulty("web_server", "STOPS_AT_ONCE"))
@pytest.mark.parametrize("options", [(), ("--close",)], ids=["keep-alive", "close"])
def test_a_web_server_that_is_stopped_under_load_loses_no_answer(
    lab: Lab, site: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """After SIGTERM its log and the client's count are the same: what it has begun to answer has arrived whole.

    A server may close a kept connection between two answers, and a client may ask at that very moment. It then knows
    that not a byte of an answer has come, and may ask somebody else (RFC 9112, section 9.3.1).
    """
    right, log = lab["right"], tmp_path / "access.log"
    with (
        serving(right, site, log) as server,
        loading(lab, "left", right.address(), *options) as load,
    ):
        assert comes_true(lambda: begun(log) > 5 * CONNECTIONS, timeout=30)
        found = stopped_under(load, lab["left"], server)
    assert_nothing_was_lost(found, begun(log))


@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.book("springsnail")
@pytest.mark.mutant("it ends at once", faulty("balancer", "STOPS_AT_ONCE"))
def test_a_balancer_that_is_stopped_under_load_loses_no_answer(lab: Lab, site: Path, tmp_path: Path) -> None:
    """The servers behind it go on, so all that they have begun to answer reaches the client, through the balancer.

    It knows connections and not requests. So each request has one of its own here: a connection that is kept and
    never rests is cut off when the time of drain-timeout is over.
    """
    node, logs = lab["balancer"], [tmp_path / f"{name}.log" for name in BACKENDS]
    backends = [f"backend {lab[name].address()}:{PORT}" for name in BACKENDS]
    lab.backend.write("balancer", {CONFIG: "\n".join([*backends, "drain-timeout 60", ""])})
    where = ("--host", node.address("front"), "--port", str(PORT), "--config", CONFIG)
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(lab[name], site, log)) for name, log in zip(BACKENDS, logs, strict=True)]
        balancer = stack.enter_context(node.start(lab.program("balancer"), *where, "--workers", "2"))
        node.wait_listening(PORT, balancer)
        load = stack.enter_context(loading(lab, "client1", node.address("front"), "--close"))
        assert comes_true(lambda: begun(*logs) > 5 * CONNECTIONS, timeout=30)
        found = stopped_under(load, lab["client1"], balancer)
        for server in servers:
            assert server.stop().exit_code == 0
    assert all(begun(log) for log in logs)
    assert_nothing_was_lost(found, begun(*logs))
