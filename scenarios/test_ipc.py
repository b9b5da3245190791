"""Semaphores, shared memory and message queues of System V and POSIX (13.5 to 13.7): who may, who waits, what is left.

left (client) ── lan ── right
"""

import signal
import socket
from contextlib import ExitStack

import pytest

from lab.mutants import faulty
from lab.node import Node
from lab.probes import proc, tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true

PORT = 7000
LINES = 512  # that the chat's log holds

pytestmark = pytest.mark.topology("two-hosts.yaml", reuse=True)


def objects(node: Node, kind: str) -> list[str]:
    """The ids of the node's semaphores ("-s") or message queues ("-q"), as ipcs(1) lists them."""
    lines = node.run("ipcs", kind).check().stdout.splitlines()
    return [line.split()[1] for line in lines if line.startswith("0x")]


def wakes(node: Node, process: Process) -> int:
    """How often a process has gone to sleep by itself so far, in semop(2) say."""
    return sum(
        int(proc.status(node, child.pid)["voluntary_ctxt_switches"]) for child in proc.children(node, process.pid)
    )


@pytest.mark.book("13.5")
@pytest.mark.mutant("visits without the semaphore", faulty("semaphores", "SEM_FORGOTTEN"))
def test_a_semaphore_lets_one_process_in_at_a_time(lab: Lab) -> None:
    """Each process reads a shared counter, lets others run, and writes one more.

    What another one has written meanwhile is lost then; with P before and V after, nothing is.
    """
    done = lab["right"].run(lab.program("semaphores"), "--workers", "4", "--rounds", "500").check()
    assert done.stdout.splitlines()[-1] == "visits 2000"


@pytest.mark.book("13.5")
@pytest.mark.mutant("the semaphore is never removed", faulty("semaphores", "SEM_LEFT"))
def test_a_semaphore_is_there_until_somebody_removes_it(lab: Lab) -> None:
    """It belongs to the kernel, not to a process: ipcs(1) lists it, and it would outlive all who use it."""
    right = lab["right"]
    before = objects(right, "-s")
    with right.start(lab.program("semaphores"), "--rounds", "0") as program:
        assert comes_true(lambda: program.stdout.startswith("semaphore "))
        assert program.stdout.split()[1] in set(objects(right, "-s")) - set(before)
        assert program.stop().exit_code == 0
    assert objects(right, "-s") == before


@pytest.mark.book("13.5")
@pytest.mark.mutant("a killed process takes the semaphore with it", faulty("semaphores", "NO_UNDO"))
def test_the_kernel_gives_back_what_a_killed_process_holds(lab: Lab) -> None:
    """SEM_UNDO: the kernel keeps the books, and undoes a process's changes when it ends, however it ends.

    Without it whoever is killed between P and V locks all others out for ever. Here all are killed but one, which goes
    on; each is stopped first, and with many of them one is inside.
    """
    right = lab["right"]
    with right.start(lab.program("semaphores"), "--rounds", "0", "--workers", "8") as program:
        assert comes_true(lambda: len(proc.children(right, program.pid)) == 8)
        last, *others = [child.pid for child in proc.children(right, program.pid)]
        assert comes_true(lambda: stop_inside(right, program, others))
        right.run("kill", "-KILL", *map(str, others)).check()
        assert comes_true(lambda: len(proc.children(right, program.pid)) == 1)
        before = wakes(right, program) + proc.processor_ticks(right, last)
        assert comes_true(lambda: wakes(right, program) + proc.processor_ticks(right, last) > before)


def stop_inside(node: Node, program: Process, others: list[int]) -> bool:
    """Stop processes until one of them is stopped between P and V: the last one then waits in semop(2)."""
    node.run("kill", "-STOP", *map(str, others)).check()
    if not comes_true(lambda: all(child.state == "T" for child in proc.children(node, program.pid)[1:]), timeout=1):
        return False
    before = proc.processor_ticks(node, proc.children(node, program.pid)[0].pid), wakes(node, program)
    if not comes_true(
        lambda: (proc.processor_ticks(node, proc.children(node, program.pid)[0].pid), wakes(node, program)) != before,
        timeout=0.3,
    ):
        return True
    node.run("kill", "-CONT", *map(str, others)).check()
    return False


@pytest.mark.book("13.7")
@pytest.mark.mutant("types are not looked at", faulty("message_queue", "FIRST_COME"))
def test_urgent_messages_overtake_others(lab: Lab) -> None:
    """Every message has a type, and a reader may ask for the lowest there is: a queue with priorities.

    Within a type the order stays.
    """
    lines = b"one\n!fire\ntwo\n!water\nthree\n"
    done = lab["right"].run(lab.program("message_queue"), stdin=lines).check()
    assert done.stdout.split() == ["!fire", "!water", "one", "two", "three"]


@pytest.mark.book("13.7")
@pytest.mark.mutant("the queue is never removed", faulty("message_queue", "QUEUE_LEFT"))
def test_messages_wait_in_the_kernel_for_whoever_comes(lab: Lab) -> None:
    """The sender has ended, and its messages are still there (ipcs -q): until somebody reads or removes them."""
    right = lab["right"]
    before = objects(right, "-q")
    with right.start(lab.program("message_queue"), "--stay", stdin=b"a\nb\nc\n") as program:
        assert comes_true(lambda: program.stdout.startswith("queue "))
        number = program.stdout.split()[1]
        (line,) = [line for line in right.run("ipcs", "-q").stdout.splitlines() if f" {number} " in line]
        assert line.split()[-2:] == ["3", "3"]  # bytes and messages
        assert program.stop().exit_code == 0
    assert objects(right, "-q") == before


@pytest.mark.book("13.7")
@pytest.mark.mutant("it does not wait for room", faulty("message_queue", "DROPS_WHEN_FULL"))
def test_a_full_queue_lets_the_sender_wait(lab: Lab) -> None:
    """A queue holds a limited number of bytes (msgmnb, 16 KB). Then msgsnd waits for the reader; nothing is lost."""
    lines = [f"{number:05} {'x' * 90}" for number in range(2000)]
    done = lab["right"].run(lab.program("message_queue"), stdin="\n".join(lines).encode()).check()
    assert done.stdout.splitlines() == lines
    assert objects(lab["right"], "-q") == []


def join(lab: Lab, server: Process, stack: ExitStack, count: int) -> list[socket.socket]:
    """Members of the chat, all of whom hear from now on."""
    address = lab["right"].address()
    members = [stack.enter_context(lab["left"].connect(address, PORT)) for _ in range(count)]
    assert comes_true(lambda: len(proc.children(lab["right"], server.pid)) == count)
    return members


@pytest.mark.book("13.6")
@pytest.mark.mutant("the shared memory keeps its name", faulty("chat_shared_memory", "SHM_LEFT"))
def test_members_processes_share_one_memory_that_has_no_name(lab: Lab) -> None:
    """Every member's process maps the same object of /dev/shm, which the children inherit and nobody need open.

    So its name is removed as soon as it is mapped: even SIGKILL leaves nothing behind.
    """
    right = lab["right"]
    with right.deploy("chat_shared_memory", port=PORT) as server, ExitStack() as stack:
        join(lab, server, stack, 3)
        pids = [server.pid, *(child.pid for child in proc.children(right, server.pid))]
        maps = [right.run("grep", "chat_shared_memory[.]", f"/proc/{pid}/maps").check().stdout for pid in pids]
        assert len({line.split()[4] for text in maps for line in text.splitlines()}) == 1  # one inode
        assert right.run("ls", "/dev/shm").check().stdout == ""  # noqa: S108 - the node's own


@pytest.mark.book("13.6")
@pytest.mark.mutant("speakers hear themselves", faulty("chat_shared_memory", "TO_SELF"))
def test_everybody_but_the_speaker_hears_whole_lines(lab: Lab) -> None:
    """However a line arrives (here byte by byte, two of them mixed), it goes to the others as one.

    A last line without its end counts too, and a member whose process is killed is missed by nobody else.
    """
    right = lab["right"]
    with right.deploy("chat_shared_memory", port=PORT) as server, ExitStack() as stack:
        one, two, three, _four = join(lab, server, stack, 4)
        for first, second in zip(b"ping\n", b"pong\n", strict=True):
            one.sendall(bytes([first]))
            two.sendall(bytes([second]))
        assert sorted(tcp.read_exactly(three, 10).split()) == [b"ping", b"pong"]
        assert tcp.read_exactly(one, 5) == b"pong\n"
        assert tcp.read_exactly(two, 5) == b"ping\n"
        last = max(child.pid for child in proc.children(right, server.pid))
        right.run("kill", f"-{signal.SIGKILL}", str(last)).check()
        one.sendall(b"bye")
        one.shutdown(socket.SHUT_WR)
        assert tcp.read_to_end(one) == b""
        assert tcp.read_exactly(three, 4) == b"bye\n"
        assert comes_true(lambda: len(proc.children(right, server.pid)) == 2)


@pytest.mark.book("13.6")
@pytest.mark.mutant("he is sent what has been written over his lines", faulty("chat_shared_memory", "LAPPED"))
def test_a_member_who_does_not_read_holds_up_nobody(lab: Lab) -> None:
    """Everybody else gets every line meanwhile. He gets his up to where the log has gone round, and is sent away then.

    A ring buffer that does not count its rounds would go on with lines of a later round, as if nothing were missing.
    """
    right = lab["right"]
    with right.deploy("chat_shared_memory", port=PORT) as server, ExitStack() as stack:
        sleeper = stack.enter_context(lab["left"].connect(right.address(), PORT, receive_buffer=4096))
        assert comes_true(lambda: len(proc.children(right, server.pid)) == 1)
        others = [stack.enter_context(lab["left"].connect(right.address(), PORT)) for _ in range(2)]
        assert comes_true(lambda: len(proc.children(right, server.pid)) == 3)
        speaker, listener = others
        for start in range(0, 10 * LINES, LINES // 4):
            lines = b"".join(b"%06d %s\n" % (start + i, b"x" * 480) for i in range(LINES // 4))
            speaker.sendall(lines)
            assert tcp.read_exactly(listener, len(lines)) == lines
        got = read_what_comes(sleeper).split(b"\n")[:-1]
        assert [int(line[:6]) for line in got] == list(range(len(got)))
        assert len(got) < 10 * LINES
        assert comes_true(lambda: len(proc.children(right, server.pid)) == 2)


def read_what_comes(client: socket.socket) -> bytes:
    """All that a server sends before it ends the connection, or falls silent."""
    client.settimeout(1)
    found = bytearray()
    try:
        while piece := client.recv(65_536):
            found += piece
    except (ConnectionResetError, TimeoutError):
        pass
    return bytes(found)
