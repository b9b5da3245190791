"""Pools of processes and of threads (15.3, 15.5): who works, who is replaced, what is never lost.

left (client) ── lan ── right (server)
"""

import json
import random
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.errors import NotSupportedError
from lab.mutants import faulty
from lab.node import Node
from lab.probes import proc, strace, tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true

PORT = 7
CLIENTS = 24
GRACE = 2.0  # seconds that the servers give their clients when they are told to end
REQUESTS = 400

pytestmark = pytest.mark.topology("two-hosts.yaml", reuse=True)


def stop(node: Node, server: Process) -> None:
    """Stop a program and return when all its threads have stopped."""
    node.run("kill", "-STOP", str(server.pid)).check()
    assert comes_true(lambda: {task.state for task in proc.threads(node, server.pid)} == {"T"})


def go_on(node: Node, server: Process) -> None:
    node.run("kill", "-CONT", str(server.pid)).check()


def connect_all(lab: Lab, stack: ExitStack, count: int) -> list[socket.socket]:
    """Connections that the server has accepted and answered on."""
    found = []
    for _ in range(count):
        client = stack.enter_context(lab["left"].connect(lab["right"].address(), PORT))
        client.sendall(b"?")
        assert tcp.read_exactly(client, 1) == b"?"
        found.append(client)
    return found


def answered(clients: list[socket.socket], data: bytes) -> int:
    """How many of them have got this back, all of it."""
    count = 0
    for client in clients:
        client.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        try:
            count += client.recv(len(data) + 1, socket.MSG_PEEK) == data
        except OSError:
            continue
    return count


@pytest.mark.book("15.5")
@pytest.mark.mutant("workers wait without a look at the queue", faulty("echo_thread_pool", "POOL_LOST_WAKEUP"))
def test_no_job_waits_while_a_worker_sleeps(lab: Lab) -> None:
    """A notice wakes up only those who wait at that moment: workers who are busy then have to look at the queue.

    All clients speak while the server is stopped, so their jobs come at once, and there is one worker for them.
    """
    right = lab["right"]
    with right.deploy("echo_thread_pool", "--workers", "1", port=PORT) as server, ExitStack() as stack:
        server_address = right.address()
        clients = [stack.enter_context(lab["left"].connect(server_address, PORT)) for _ in range(CLIENTS)]
        stop(right, server)
        for client in clients:
            client.sendall(b"all at once")
        assert comes_true(lambda: sum(one.receive_queue == 11 for one in right.sockets()) == CLIENTS)
        go_on(right, server)
        assert comes_true(lambda: answered(clients, b"all at once") == CLIENTS)


@pytest.mark.book("15.5")
@pytest.mark.mutant("the main thread closes connections as well", faulty("echo_thread_pool", "WORKER_CLOSE"))
def test_a_connection_belongs_to_one_thread(lab: Lab) -> None:
    """The clients' data and FIN are there at once, and a worker has each connection for the data.

    A main thread that closes it for the FIN takes the reply away, or closes the connection of somebody else, who has
    got its number meanwhile.
    """
    right = lab["right"]
    with right.deploy("echo_thread_pool", port=PORT) as server, ExitStack() as stack:
        clients = connect_all(lab, stack, CLIENTS)
        stop(right, server)
        for client in clients[1:]:
            client.sendall(b"and goodbye")
            client.shutdown(socket.SHUT_WR)
        assert comes_true(lambda: sum(one.state == "CLOSE_WAIT" for one in right.sockets()) == CLIENTS - 1)
        go_on(right, server)
        assert comes_true(lambda: answered(clients[1:], b"and goodbye") == CLIENTS - 1)
        clients[0].sendall(b"!")
        assert comes_true(lambda: answered(clients[:1], b"!") == 1)


@pytest.mark.book("15.5")
@pytest.mark.mutant("workers wait for slow readers", faulty("echo_thread_pool", "WORKER_WAITS"))
def test_slow_readers_keep_no_thread(lab: Lab) -> None:
    """More clients than threads send without reading, until all buffers are full; the pool still answers others.

    A connection that cannot be written to goes back to epoll, and its thread to the queue.
    """
    right, data = lab["right"], random.Random(15).randbytes(1 << 24)  # noqa: S311 - a fixed sequence
    with right.deploy("echo_thread_pool", "--workers", "2", port=PORT), ExitStack() as stack:
        slow = connect_all(lab, stack, 4)
        sent = [tcp.send_until_stalled(client, data) for client in slow]
        assert max(sent) < len(data)
        others = [stack.enter_context(lab["left"].connect(right.address(), PORT)) for _ in range(4)]
        for client in others:
            client.sendall(b"quick")
        assert comes_true(lambda: answered(others, b"quick") == 4)
        for client, count in zip(slow, sent, strict=True):
            client.setblocking(True)  # noqa: FBT003 - the socket module's own signature
            client.shutdown(socket.SHUT_WR)
            assert tcp.read_to_end(client) == data[:count]


def worker_names(node: Node, server: Process) -> list[str]:
    return sorted(task.name for task in proc.threads(node, server.pid) if task.name.startswith("worker"))


@pytest.mark.book("15.5")
@pytest.mark.mutant("one thread does it all", lambda lab: setattr(lab["right"], "deploy", one_worker(lab)))
def test_the_threads_are_as_many_as_asked_for(lab: Lab) -> None:
    """They are started once, and wait: a connection costs no thread. Their names stand in /proc/PID/task/*/comm."""
    right = lab["right"]
    with right.deploy("echo_thread_pool", "--workers", "3", port=PORT) as server, ExitStack() as stack:
        connect_all(lab, stack, CLIENTS)
        wanted = ["worker-1", "worker-2", "worker-3"]  # each gives itself its name, the last perhaps after an answer
        assert comes_true(lambda: worker_names(right, server) == wanted)
        assert server.stop().exit_code == 0


def one_worker(lab: Lab) -> object:
    """A deploy that ignores how many workers are wanted."""
    deploy = lab["right"].deploy
    return lambda name, *_arguments, port: deploy(name, "--workers", "1", port=port)


@pytest.mark.book("15.5")
@pytest.mark.mutant("it frees the pool while threads work in it", faulty("echo_thread_pool", "DETACHED"))
def test_a_pool_ends_after_the_work_of_its_threads(lab: Lab) -> None:
    """A thread is in the middle of its work when the server has no time left; the pool waits, and the work is done.

    Detached threads, as the book's pool has them, work on in memory that is freed, or end with the process where they
    are. What is slow here is a system call: strace(1) lets it begin late.
    """
    right, data = lab["right"], b"begun before the end"
    with right.deploy("echo_thread_pool", "--workers", "1", port=PORT) as server, ExitStack() as stack:
        (client,) = connect_all(lab, stack, 1)
        (worker,) = (task.pid for task in proc.threads(right, server.pid) if task.name == "worker-1")
        try:
            stack.enter_context(strace.slow(right, worker, "write", 2 * GRACE))
        except NotSupportedError as error:
            pytest.skip(str(error))
        client.sendall(data)
        assert comes_true(lambda: (worker, "t") in {(task.pid, task.state) for task in proc.threads(right, server.pid)})
        server.signal(signal.SIGTERM)
        assert server.wait().exit_code == 0
        assert tcp.read_to_any_end(client) == data


def workers(node: Node, server: Process) -> set[int]:
    return {child.pid for child in proc.children(node, server.pid) if child.state != "Z"}


@pytest.mark.book("15.3")
@pytest.mark.mutant("nobody looks after the workers", lambda lab: setattr(lab, "program", lonely(lab)))
def test_a_killed_worker_is_replaced(lab: Lab) -> None:
    """The parent of a pool does nothing but that: SIGCHLD tells it that one has ended, and it starts another."""
    right = lab["right"]
    with right.deploy("cgi_server", "--workers", "3", port=PORT) as server:
        assert comes_true(lambda: len(workers(right, server)) == 3)
        victim, *others = sorted(workers(right, server))
        right.run("kill", "-KILL", str(victim)).check()
        assert comes_true(lambda: len(workers(right, server) - {victim}) == 3)
        assert set(others) < workers(right, server)
        assert f"worker {victim} was killed by signal 9" in server.stderr
        assert server.stop().exit_code == 0


def lonely(lab: Lab) -> object:
    """A program without a pool."""
    program = lab.program
    return lambda _name: program("echo_thread_pool")


@pytest.mark.book("15.3")
@pytest.mark.mutant("there is no pool", lambda lab: setattr(lab, "program", lonely(lab)))
def test_workers_end_with_their_parent(lab: Lab) -> None:
    """However it ends: on SIGTERM it waits for them, and at its SIGKILL the kernel tells them (PR_SET_PDEATHSIG)."""
    right = lab["right"]
    with right.deploy("cgi_server", "--workers", "2", port=PORT) as server:
        assert comes_true(lambda: len(workers(right, server)) == 2)
        pids = workers(right, server)
        right.run("kill", f"-{signal.SIGKILL}", str(server.pid)).check()
        server.wait()
        assert comes_true(lambda: not any(proc.threads(right, pid) for pid in pids))
        assert [one for one in right.sockets() if one.state == "LISTEN"] == []


@pytest.mark.book("15.3")
@pytest.mark.mutant("workers overwrite each other's counts", faulty("cgi_server", "CGI_LOST_COUNTS"))
def test_what_several_processes_count_together_is_exact(lab: Lab, tmp_path: Path) -> None:
    """To count one more is to read, to add and to write. Of two who do so at the same time one would be forgotten.

    So counters in shared memory are atomic: reading and writing is one, and nobody comes in between.
    """
    right = lab["right"]
    with right.deploy("cgi_server", "--workers", "4", "--root", str(tmp_path), port=PORT) as server:
        where = ("--host", right.address(), "--port", str(PORT), "--path", "/nothing")
        how = ("--connections", "8", "--requests", str(REQUESTS), "--close")
        done = lab["left"].run(lab.program("load_generator"), *where, *how).check()
        assert json.loads(done.stdout)["errors"]["status"] == REQUESTS
        server.signal(signal.SIGUSR1)
        assert comes_true(lambda: "}" in server.stderr)
        (line,) = (line for line in server.stderr.splitlines() if line.startswith("{"))
        counted = json.loads(line)
    assert [counted[name] for name in ("connections", "requests", "refusals")] == [REQUESTS] * 3
