"""Timers: idle connections are closed (book 11.2), and what it costs to keep many (11.4).

left (clients) ── lan ── right (server)
"""

import json
import select
import socket
import time
from typing import Any

import pytest

from lab.mutants import faulty
from lab.probes import tcp
from lab.running import Lab
from lab.wait import comes_true

PORT = 7
SERVERS = ("idle_list", "idle_wheel", "idle_heap", "event_echo")
PATIENCE = 1.0  # seconds


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each scenario with every server; against mutants with the one that has them."""
    if "server" in metafunc.fixturenames:
        metafunc.parametrize("server", SERVERS[:1] if metafunc.config.getoption("mutants") else SERVERS)


def ends(connection: socket.socket, timeout: float) -> bool:
    """Whether the peer ends it within some seconds, in which it says nothing."""
    if not select.select([connection], [], [], timeout)[0]:
        return False
    try:
        assert connection.recv(1) == b""
    except ConnectionResetError:
        return True
    return True


def answered(connection: socket.socket) -> bool:
    """Whether the peer answers to a byte, and does not end the connection instead."""
    try:
        connection.sendall(b"x")
        return tcp.read_exactly(connection, 1) == b"x"
    except ConnectionError:
        return False


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("11.2")
@pytest.mark.mutant("nobody looks whose time is over", faulty("idle_list", "IDLE_NEVER"))
def test_a_connection_on_which_nothing_moves_is_closed(lab: Lab, server: str) -> None:
    """Neither earlier than it was said, nor only when something else happens: the timer wakes the server."""
    with (
        lab["right"].deploy(server, "--idle-timeout", f"{PATIENCE:g}", port=PORT),
        lab["left"].connect(lab["right"].address(), PORT) as silent,
    ):
        begin = time.monotonic()
        assert answered(silent)
        assert ends(silent, 9)
        assert time.monotonic() - begin >= PATIENCE


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("11.2")
@pytest.mark.mutant("a connection has so long to live", faulty("idle_list", "NO_RENEWAL"))
def test_a_connection_on_which_something_moves_is_kept(lab: Lab, server: str) -> None:
    """Each byte gives it all of its time again: it lives far longer than it may be silent."""
    with (
        lab["right"].deploy(server, "--idle-timeout", f"{PATIENCE:g}", port=PORT),
        lab["left"].connect(lab["right"].address(), PORT) as busy,
    ):
        begin = time.monotonic()
        while time.monotonic() - begin < 2 * PATIENCE:
            assert not ends(busy, PATIENCE / 10)
            assert answered(busy)
        assert ends(busy, 9)


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("11.2")
@pytest.mark.mutant("nobody looks whose time is over", faulty("idle_list", "IDLE_NEVER"))
def test_who_does_not_read_is_as_idle_as_who_says_nothing(lab: Lab, server: str) -> None:
    """A peer whose buffers are full, and who does not empty them, holds a connection on which nothing moves."""
    data = bytes(1 << 24)
    with (
        lab["right"].deploy(server, "--idle-timeout", f"{PATIENCE:g}", port=PORT) as process,
        lab["left"].connect(lab["right"].address(), PORT) as stuck,
    ):
        assert tcp.send_until_stalled(stuck, data) < len(data)
        assert comes_true(lambda: connections(lab) == 0, timeout=9)
        assert process.exit_code is None


def connections(lab: Lab) -> int:
    """How many connections the server holds."""
    return sum(one.state == "ESTABLISHED" for one in lab["right"].sockets())


def bench(lab: Lab, kind: str, timers: int, sample: int) -> dict[str, Any]:
    """What timer_bench measures: nanoseconds per timer, and how many have expired, and how many too early."""
    arguments = ("--kind", kind, "--timers", str(timers), "--sample", str(sample))
    done = lab["left"].run(lab.program("timer_bench"), *arguments, timeout=60).check()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("11.4")
@pytest.mark.mutant("the wheel takes no notice of rounds", faulty("timer_bench", "ROUNDS_IGNORED"))
def test_timers_expire_all_and_none_early(lab: Lab) -> None:
    """List, wheel and heap differ in their cost only.

    The wheel goes round six times here: most of its timers are passed several times before they are due.
    """
    for kind in ("list", "wheel", "heap"):
        result = bench(lab, kind, 5000, 1000)
        assert (result["expired"], result["early"]) == (5500, 0), result


COUNTS = (1_000, 10_000, 100_000, 1_000_000)
GROWTH = COUNTS[-1] / COUNTS[0]


def add_ns(lab: Lab, kind: str, count: int) -> float:
    """Nanoseconds to take one more timer in among so many: the least of several runs, as others only make it slower.

    All the timers that were added expire or are cancelled, however many there are, and none comes early.
    """
    sample = min(1000, 20_000_000 // count) if kind == "list" else 1000  # a list takes too long for more
    results = [bench(lab, kind, count, sample) for _ in range(5)]
    assert {(one["expired"], one["early"]) for one in results} == {(count + sample - sample // 2, 0)}
    least: float = min(one["add_ns"] for one in results)
    return least


@pytest.mark.bench
@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("11.4")
@pytest.mark.mutant("the heap is a list", faulty("timer_bench", "NO_HEAP"))
def test_what_a_timer_costs_among_a_thousand_and_among_a_million(lab: Lab) -> None:
    """A list looks for the place one by one: a thousand times as many timers cost a thousand times as much for each.

    The heap takes twice as many steps, twenty instead of ten at most, and the wheel none at all. Both get slower as
    well, though by far less, as a million timers do not fit the processor's caches.
    """
    costs = {kind: {count: add_ns(lab, kind, count) for count in COUNTS} for kind in ("list", "wheel", "heap")}
    growth = {kind: cost[COUNTS[-1]] / cost[COUNTS[0]] for kind, cost in costs.items()}
    assert growth["list"] > GROWTH / 10, costs
    assert max(growth["wheel"], growth["heap"]) < GROWTH / 20, costs
    for count in COUNTS[2:]:
        assert costs["list"][count] > 20 * max(costs["wheel"][count], costs["heap"][count]), costs
