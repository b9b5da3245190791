"""Signals as events (book 10.4, 10.5): a handler writes a byte into a pipe, and the main loop comes to it in its turn.

left (clients) ── lan ── right (server)
"""

import os
import re
import signal
import socket
from contextlib import ExitStack

import pytest

from lab.mutants import faulty
from lab.probes import proc, strace, tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true, wait_until

PORT = 7


def client(lab: Lab) -> socket.socket:
    return lab["left"].connect(lab["right"].address(), PORT)


def answered(connection: socket.socket, data: bytes) -> bytes:
    """What comes back for this; nothing if nothing does."""
    connection.sendall(data)
    try:
        return tcp.read_exactly(connection, len(data), timeout=3)
    except TimeoutError:
        return b""


def pause(lab: Lab, server: Process) -> None:
    """Let the server stand still, after it has answered once: it waits for events, or is about to wait again.

    The thread sanitizer may lose a signal that comes before a program's first wait: only then its library makes what it
    keeps signals in, and may do so twice.
    """
    with client(lab) as first:
        assert answered(first, b"x") == b"x"
    proc.pause(lab["right"], server)


def waiting(lab: Lab) -> int:
    """How many connections wait at the server to be accepted."""
    return sum(one.receive_queue for one in lab["right"].sockets() if one.local[1] == PORT and one.state == "LISTEN")


def reported(process: Process) -> tuple[int, int]:
    """How many connections it says that it has accepted, and at how many signals."""
    process.signal(signal.SIGUSR1)
    wait_until(lambda: "accepted" in process.stderr, timeout=10, what="the server's report")
    found = re.findall(r"^accepted (\d+) at (\d+) signals$", process.stderr, re.MULTILINE)
    return int(found[-1][0]), int(found[-1][1])


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("10.4")
@pytest.mark.mutant("it accepts once per signal", faulty("echo_signals", "ONE_SIGNAL"))
def test_one_signal_may_stand_for_several_events(lab: Lab) -> None:
    """Five clients connect while the server stands still. Each raises SIGIO, and one SIGIO is delivered.

    A signal that is pending already is not pending twice (signal(7)). It says that something may have happened, never
    how often: all that waits has to be taken.
    """
    with lab["right"].deploy("echo_signals", port=PORT) as server, ExitStack() as connections:
        pause(lab, server)
        clients = [connections.enter_context(client(lab)) for _ in range(5)]
        wait_until(lambda: waiting(lab) == 5, timeout=10, what="five connections in the queue")
        server.signal(signal.SIGCONT)
        assert [answered(one, b"x") for one in clients] == [b"x"] * 5
        accepted, signals = reported(server)
        assert accepted == 6
        assert signals < 6


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("10.4")
@pytest.mark.mutant("it accepts once per signal", faulty("echo_signals", "ONE_SIGNAL"))
def test_signals_between_events_disturb_neither(lab: Lab) -> None:
    """A hundred signals while data moves: system calls that they interrupt go on, and no byte is lost."""
    data = bytes(range(251)) * 10_000
    with lab["right"].deploy("echo_signals", port=PORT) as server, ExitStack() as connections:
        pause(lab, server)
        first, second = (connections.enter_context(client(lab)) for _ in range(2))
        server.signal(signal.SIGCONT)
        for _ in range(100):
            server.signal(signal.SIGHUP)
            assert answered(first, b"still here") == b"still here"
        assert answered(second, b"x") == b"x"
        assert tcp.converse(first, data) == data
        assert comes_true(lambda: "SIGHUP: nothing to read again" in server.stderr)
        assert server.exit_code is None


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("10.4")
@pytest.mark.mutant("the handler does the work itself", faulty("echo_signals", "BUSY_HANDLER"))
def test_a_handler_only_writes_a_byte(lab: Lab) -> None:
    """strace(1) shows what happens between SIGHUP and rt_sigreturn: the signal's number goes into the pipe, no more.

    The message about it is written later, by the main loop: almost nothing else is safe in a handler
    (signal-safety(7)).
    """
    if os.environ.get("LAB_SERVERS") == "tsan":
        pytest.skip("the thread sanitizer takes signals itself and calls the handler later")
    trial = lab["right"].run("strace", "-e", "trace=none", "true")
    if trial.exit_code:
        pytest.skip(f"strace cannot trace here: {trial.stderr.strip()}")
    program = ("strace", "-f", "-o", "/dev/stdout", lab.program("echo_signals"), "--port", str(PORT))
    with lab["right"].start(*program, environment={"ASAN_OPTIONS": "detect_leaks=0"}) as tracer, ExitStack() as stack:
        lab["right"].wait_listening(PORT, tracer)
        stack.enter_context(client(lab))
        server = lab["right"].run("pgrep", "-x", "echo_signals").check().stdout.split()[-1]
        lab["right"].run("kill", "-HUP", server).check()
        wait_until(lambda: "nothing to read again" in tracer.stderr, timeout=10, what="the server's message")
        lab["right"].run("kill", "-TERM", server).check()
        tracer.wait()
    calls = [line.split(maxsplit=1)[1] for line in tracer.stdout.splitlines()]
    begin = next(i for i, call in enumerate(calls) if call.startswith("--- SIGHUP"))
    end = next(i for i, call in enumerate(calls) if i > begin and call.startswith("rt_sigreturn"))
    assert [call.split("(")[0] for call in calls[begin + 1 : end]] == ["write"]
    assert re.fullmatch(r'write\(\d+, "\\1", 1\) += 1', calls[begin + 1])


def stopped_while_a_client_connects(lab: Lab, server: str) -> tuple[bytes, int]:
    """What a client hears who connects when the signal to end is in the pipe already, and the server's exit code.

    The handler's write into the pipe takes a second here. So the next wait for events brings both, the signal first.
    """
    with lab["right"].deploy(server, port=PORT, environment={"ASAN_OPTIONS": "detect_leaks=0"}) as running:
        with strace.watch(lab["right"], running, "write", delay=1.0) as calls:
            running.signal(signal.SIGTERM)
            wait_until(lambda: "write" in calls.text, timeout=10, what="the handler to write")
            with client(lab) as late:
                late.sendall(b"just in time")
                heard = tcp.read_to_any_end(late)
        return heard, running.wait().exit_code


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("11.2")
@pytest.mark.mutant("who waits to be accepted is reset", faulty("idle_list", "WAITING_ARE_RESET"))
def test_who_has_connected_before_the_end_is_served_still(lab: Lab) -> None:
    """One turn of the loop may bring the signal to end and, behind it, a client who waits to be accepted.

    To close the listening socket is to reset whoever waits there; and the event is still to come when it is closed.
    """
    assert stopped_while_a_client_connects(lab, "idle_list") == (b"just in time", 0)


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.7")
@pytest.mark.mutant("who waits to be accepted is reset", faulty("echo_tcp_udp", "WAITING_ARE_RESET"))
def test_a_server_for_two_protocols_serves_who_has_connected_before_the_end(lab: Lab) -> None:
    """The same with one more socket in the loop."""
    assert stopped_while_a_client_connects(lab, "echo_tcp_udp") == (b"just in time", 0)
