"""The web server beside nginx (a worker each, no log): same lab, same files, same client, in turns.

What counts is the ratio of two loads that follow each other, and of many such pairs the one in the middle.
"""

from __future__ import annotations

import statistics
import sys
from contextlib import ExitStack
from typing import Any

import pytest

from lab.node import Node
from lab.process import Process
from lab.running import Lab
from lab.wait import wait_until
from tests.bench_http import LOADS, ROOT, load, run_nginx, side_by_side, write_files
from tests.service_labs import BringUp, bring_up

__all__ = ["bring_up"]

pytestmark = pytest.mark.bench

ROUNDS = 9
THEIRS, OURS = 80, 8080
LEAST = 0.95  # what noise takes from two that are equally fast
IDLE = 10_000
SLOW = 100

TEXT = """
name: web-servers
networks: {lan: {subnet: 10.0.1.0/24}}
nodes:
  client: {networks: {lan: 10.0.1.10}}
  server: {networks: {lan: 10.0.1.1}}
"""
CROWD = """
import resource, signal, socket
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
crowd = []
for _ in range({count}):
    crowd.append(socket.create_connection(("{address}", {port})))
    crowd[-1].sendall(b"GET /small HTTP/1.1\\r\\nHost: server\\r\\n\\r\\n")
    crowd[-1].recv(4096)
print("they are all here", flush=True)
signal.pause()
"""


@pytest.fixture
def both(bring_up: BringUp) -> Lab:
    """A lab in which both web servers serve the same folder."""
    lab = bring_up(TEXT)
    run_nginx(lab, "server")
    lab["server"].deploy("web_server", "--root", ROOT, port=OURS)
    return lab


def load_server(lab: Lab, port: int, *options: str) -> dict[str, Any]:
    return load(lab["client"], lab["server"].address(), port, *options)


@pytest.mark.parametrize(("what", "options"), LOADS)
def test_the_web_server_is_as_fast_as_nginx(
    both: Lab, capsys: pytest.CaptureFixture[str], what: str, options: tuple[str, ...]
) -> None:
    def rate(port: int) -> float:
        return float(load_server(both, port, *options)["requests_per_second"])

    ours, theirs, ratio = side_by_side(rate, OURS, THEIRS, ROUNDS)
    with capsys.disabled():
        sys.stdout.write(f"\n{what}: {ours:.0f}/s, nginx {theirs:.0f}/s: {ratio:.2f} times as many\n")
    assert ratio >= LEAST


def resident(node: Node, program: Process) -> int:
    """Kilobytes of memory."""
    return int(node.run("ps", "-o", "rss=", "-p", str(program.pid)).check().stdout)


def test_an_idle_connection_takes_two_kilobytes_at_most(bring_up: BringUp, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten thousand that have asked once, and keep their connections."""
    lab = bring_up(TEXT)
    write_files(lab, "server")
    server = lab["server"].deploy("web_server", "--root", ROOT, port=OURS)
    before = resident(lab["server"], server)
    crowd = CROWD.format(count=IDLE, address=lab["server"].address(), port=OURS)
    clients = lab["client"].start(sys.executable, "-c", crowd)
    wait_until(lambda: clients.stdout != "" or clients.exit_code is not None, timeout=60, what="the crowd to come")
    assert clients.stdout, clients.stderr
    each = (resident(lab["server"], server) - before) * 1024 / IDLE
    with capsys.disabled():
        sys.stdout.write(f"\nan idle connection: {each:.0f} bytes\n")
    assert each <= 2048


def test_a_hundred_slow_readers_do_not_slow_down_the_others(both: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """The hundredth-slowest answer takes about as long with them as without: twice at most, in the middle of rounds."""
    options = ("--path", "/small", "--connections", "10")
    ratios = []
    for _ in range(ROUNDS):
        alone = load_server(both, OURS, *options)["latency_us"]["p99"]
        with ExitStack() as stack:
            for _ in range(SLOW):
                slow = stack.enter_context(both["client"].connect(both["server"].address(), OURS))
                slow.sendall(b"GET /large HTTP/1.1\r\nHost: server\r\n\r\n")
                assert slow.recv(100)
            ratios.append(load_server(both, OURS, *options)["latency_us"]["p99"] / alone)
    with capsys.disabled():
        sys.stdout.write(f"\np99 with {SLOW} slow readers: {statistics.median(ratios):.2f} times that without\n")
    assert statistics.median(ratios) <= 2
