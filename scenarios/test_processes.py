"""Processes as servers: one for each connection, and what each keeps of what the other has opened (13.3, 13.9).

left (client) ── lan ── right (server)
"""

import signal
import socket
from contextlib import ExitStack

import pytest

from lab.errors import NotSupportedError
from lab.mutants import faulty
from lab.node import Node
from lab.probes import proc, strace, tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true

PORT = 7
CLIENTS = 12

pytestmark = pytest.mark.topology("two-hosts.yaml", reuse=True)


def only(node: Node, number: int, process: Process) -> None:
    """Send a signal to a process, and not to its group."""
    node.run("kill", f"-{number}", str(process.pid)).check()


def connect(lab: Lab) -> socket.socket:
    """A connection on which the server has answered already."""
    client = lab["left"].connect(lab["right"].address(), PORT)
    client.sendall(b"?")
    assert tcp.read_exactly(client, 1) == b"?"
    return client


@pytest.mark.book("13.3")
@pytest.mark.mutant("one waitpid for each SIGCHLD", faulty("reaper", "ZOMBIES"))
def test_one_sigchld_may_stand_for_many_children(lab: Lab) -> None:
    """The kernel remembers that a signal is pending, not how often it came.

    The server is stopped while all its children end, so it gets one SIGCHLD for all of them. It has to call waitpid
    until nobody is left; a call for each signal leaves zombies (state Z), which hold their numbers for ever.
    """
    server, right = lab["right"].deploy("reaper", port=PORT), lab["right"]
    with server, ExitStack() as clients:
        for _ in range(CLIENTS):
            clients.enter_context(connect(lab))
        assert len(proc.children(right, server.pid)) == CLIENTS
        only(right, signal.SIGSTOP, server)
        proc.await_pause(right, server.pid)
        clients.close()
        assert comes_true(lambda: [child.state for child in proc.children(right, server.pid)] == ["Z"] * CLIENTS)
        only(right, signal.SIGCONT, server)
        assert comes_true(lambda: proc.children(right, server.pid) == [])


@pytest.mark.book("13.3")
@pytest.mark.mutant("the parent keeps its copy of each connection", faulty("reaper", "FD_LEAK"))
def test_a_connection_ends_with_its_last_copy(lab: Lab) -> None:
    """After fork both processes have the connection; closing it in one of them sends no FIN.

    A parent that keeps its copy lets the client wait for an end that does not come, and runs out of descriptors.
    """
    right = lab["right"]
    with right.deploy("reaper", port=PORT) as server, connect(lab) as client:
        (child,) = proc.children(right, server.pid)
        ours, theirs = proc.descriptors(right, server.pid), proc.descriptors(right, child.pid)
        shared = {target for target in theirs.values() if target.startswith("socket:")} & set(ours.values())
        assert not shared, "parent and child have the same socket"
        client.shutdown(socket.SHUT_WR)
        assert tcp.read_to_end(client) == b""


@pytest.mark.book("13.3")
@pytest.mark.mutant("children keep the listening socket", faulty("reaper", "LISTENER_LEAK"))
def test_connections_outlive_the_server_and_its_port_is_free(lab: Lab) -> None:
    """A child with a copy of the listening socket would keep the port for a server that is no more.

    Clients would be connected, and nobody would accept them. Without it, the next server starts at once, and the
    connections of the old one go on until they end by themselves.
    """
    right = lab["right"]
    with right.deploy("reaper", port=PORT) as server, connect(lab) as client:
        only(right, signal.SIGKILL, server)
        assert server.wait().exit_code == -signal.SIGKILL
        assert [one for one in right.sockets() if one.state == "LISTEN"] == []
        with right.deploy("reaper", port=PORT), connect(lab):
            client.sendall(b"still there")
            assert tcp.read_exactly(client, 11) == b"still there"


@pytest.mark.book("13.3")
@pytest.mark.mutant("the parent keeps its copy of each connection", faulty("reaper", "FD_LEAK"))
def test_a_reset_ends_one_child_and_nobody_else(lab: Lab) -> None:
    """The child's next call fails (ECONNRESET, EPIPE), and it ends; SIGPIPE would be its end as well, without a word.

    The parent has kept nothing of it: as many descriptors as before.
    """
    right = lab["right"]
    with right.deploy("reaper", port=PORT) as server, connect(lab) as other:
        before = len(proc.descriptors(right, server.pid))
        tcp.reset(connect(lab))
        assert comes_true(lambda: len(proc.children(right, server.pid)) == 1)
        assert len(proc.descriptors(right, server.pid)) == before
        other.sendall(b"!")
        assert tcp.read_exactly(other, 1) == b"!"


@pytest.mark.book("13.3")
@pytest.mark.mutant("one waitpid for each SIGCHLD", faulty("reaper", "ZOMBIES"))
def test_more_clients_than_processes_wait_their_turn(lab: Lab) -> None:
    """With a limit on children the next connection waits in the backlog, until SIGCHLD says that there is room."""
    right = lab["right"]
    with right.deploy("reaper", "--most", "4", port=PORT) as server, ExitStack() as first:
        for _ in range(4):
            first.enter_context(connect(lab))
        with ExitStack() as second:
            waiting = [second.enter_context(lab["left"].connect(right.address(), PORT)) for _ in range(4)]
            for client in waiting:
                client.sendall(b"?")
            assert len(proc.children(right, server.pid)) == 4
            only(right, signal.SIGSTOP, server)
            proc.await_pause(right, server.pid)
            first.close()
            assert comes_true(lambda: {child.state for child in proc.children(right, server.pid)} == {"Z"})
            only(right, signal.SIGCONT, server)
            assert comes_true(lambda: all(client_has_data(client) for client in waiting))


def client_has_data(client: socket.socket) -> bool:
    client.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    try:
        return client.recv(1, socket.MSG_PEEK) == b"?"
    except BlockingIOError:
        return False


@pytest.mark.book("13.3")
@pytest.mark.mutant("children end at once", faulty("reaper", "REAPER_NO_DRAIN"))
def test_what_has_arrived_is_answered_when_the_server_is_told_to_end(lab: Lab) -> None:
    """SIGTERM goes to parent and children; each child sends back what the kernel has of its client, then ends.

    The server waits for them, so nothing is left running when it ends with 0.
    """
    right = lab["right"]
    with right.deploy("reaper", port=PORT) as server, connect(lab) as client:
        right.run("kill", "-STOP", *(str(child.pid) for child in proc.children(right, server.pid))).check()
        client.sendall(b"last words")
        assert comes_true(lambda: any(one.receive_queue == 10 for one in right.sockets()))
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        assert server.wait().exit_code == 0
        assert what_came(client) == b"last words"


def what_came(client: socket.socket) -> bytes:
    """What the server has sent; nothing if it has reset the connection."""
    try:
        return tcp.read_to_end(client)
    except ConnectionResetError:
        return b""


@pytest.mark.book("13.9")
@pytest.mark.mutant("it sends the number instead", faulty("pass_fd", "FD_NUMBER"))
def test_a_descriptor_that_another_process_has_opened(lab: Lab) -> None:
    """A number means nothing to another process. SCM_RIGHTS gives it a descriptor of its own, of the same open file.

    Of the same: the child has read the first line, so the parent begins with the second, at the shared position.
    """
    done = lab["right"].run(lab.program("pass_fd"), "--file", "/etc/hosts")
    hosts = lab["right"].run("cat", "/etc/hosts").check().stdout
    said, _, rest = done.stdout.partition("\n")
    assert done.exit_code == 0
    assert said.startswith("opened by ")
    assert rest == hosts.partition("\n")[2]


@pytest.mark.book("13.9")
@pytest.mark.mutant("it sends the number instead", faulty("pass_fd", "FD_NUMBER"))
def test_the_reader_never_opens_the_file(lab: Lab) -> None:
    """As strace shows, one process calls openat, the other gets the descriptor from recvmsg."""
    program = [lab.program("pass_fd"), "--file", "/etc/hosts"]
    try:
        done, calls = strace.run(lab["right"], program, ("openat", "sendmsg", "recvmsg"))
    except NotSupportedError as error:
        pytest.skip(str(error))
    assert {"sendmsg", "recvmsg"} <= {call.name for call in calls}
    # In the text, as a call that another process's interrupts stands there in two parts.
    assert done.stderr.count('"/etc/hosts"') == 1
    assert done.stderr.count("SCM_RIGHTS") == 2
    assert done.stdout.startswith("opened by ")


@pytest.mark.book("13.9")
@pytest.mark.mutant("it sends the number instead", faulty("pass_fd", "FD_NUMBER"))
def test_what_cannot_be_opened_is_told(lab: Lab) -> None:
    """The child's error reaches the parent in the byte that goes with every descriptor: errno, and no descriptor."""
    done = lab["right"].run(lab.program("pass_fd"), "--file", "/nowhere")
    assert done.exit_code == 1
    assert done.stderr == "pass_fd: open /nowhere: No such file or directory\n"
    assert lab["right"].run(lab.program("pass_fd"), "--file", "/etc/hosts").exit_code == 0
