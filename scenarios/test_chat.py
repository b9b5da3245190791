"""A chat room over poll(2): what one says all others hear, in whole lines, and nobody waits for anybody (book 9.6).

left (members) ── lan ── right (server)
"""

import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.errors import WaitTimeoutError
from lab.mutants import faulty
from lab.node import Node
from lab.probes import proc, tcp
from lab.running import Lab
from lab.wait import comes_true, wait_until

PORT = 6000


def members(lab: Lab, stack: ExitStack, count: int) -> list[socket.socket]:
    """Connections that the server has taken in."""
    found = [stack.enter_context(lab["left"].connect(lab["right"].address(), PORT)) for _ in range(count)]
    wait_until(lambda: not waiting(lab["right"]), timeout=10, what="the server to accept all members")
    return found


def waiting(node: Node) -> int:
    """How many connections wait to be accepted."""
    return sum(one.receive_queue for one in node.sockets() if one.local[1] == PORT and one.state == "LISTEN")


def hears(member: socket.socket, text: bytes, timeout: float = 5.0) -> bytes:
    """What a member hears, up to as many bytes as the text that it should hear has."""
    try:
        return tcp.read_exactly(member, len(text), timeout)
    except (TimeoutError, ConnectionError) as error:
        raise AssertionError(f"instead of {text[:40]!r}: {error}") from error


def says(member: socket.socket, text: bytes) -> None:
    member.settimeout(5)
    try:
        member.sendall(text)
    except TimeoutError as error:
        raise AssertionError("the server does not take what a member says") from error


def hears_nothing(member: socket.socket) -> bool:
    """Whether nothing has come, once everything that was said before has been heard by somebody else."""
    member.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    try:
        return member.recv(1, socket.MSG_PEEK) is None
    except BlockingIOError:
        return True


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.6.2")
@pytest.mark.mutant("it tells everyone what he has said himself", faulty("chat_server", "TO_SENDER"))
def test_what_one_says_all_others_hear(lab: Lab) -> None:
    """Two say something in turn. Each hears the other's words as the first that come, so never its own."""
    with lab["right"].deploy("chat_server", port=PORT), ExitStack() as stack:
        one, other, third = members(lab, stack, 3)
        one.sendall(b"hello\n")
        assert hears(other, b"hello\n") == hears(third, b"hello\n") == b"hello\n"
        other.sendall(b"good day\n")
        assert hears(one, b"good day\n") == hears(third, b"good day\n") == b"good day\n"


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.6.2")
@pytest.mark.mutant("it passes on what has come", faulty("chat_server", "SPLIT_LINES"))
def test_lines_are_passed_on_whole(lab: Lab) -> None:
    """A stream may be cut anywhere. One member's half line must not be followed by somebody else's words."""
    with lab["right"].deploy("chat_server", port=PORT) as server, ExitStack() as stack:
        slow, quick, listener = members(lab, stack, 3)
        slow.sendall(b"good ")
        wait_until(lambda: not unread(lab["right"]), timeout=10, what="the server to read half a line")
        quick.sendall(b"hello\n")
        assert hears(slow, b"hello\n") == b"hello\n"
        slow.sendall(b"morning\n")
        assert hears(listener, b"hello\ngood morning\n") == b"hello\ngood morning\n"
        assert server.exit_code is None


def unread(node: Node) -> int:
    """How many bytes wait for the server to read them."""
    return sum(one.receive_queue for one in node.sockets() if one.local[1] == PORT and one.state == "ESTABLISHED")


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.6.2")
@pytest.mark.mutant("it waits for its slowest reader", faulty("chat_server", "SLOW_READER_STALLS"))
def test_who_does_not_listen_is_put_out_and_nobody_waits(lab: Lab) -> None:
    """Buffers on the way to one member fill up, then the queue that the server keeps for it; then it has to leave.

    The others hear everything meanwhile. The server's memory has a bound, which is members times queue.
    """
    with lab["right"].deploy("chat_server", port=PORT) as server, ExitStack() as stack:
        speaker, deaf, listener = members(lab, stack, 3)
        line = b"x" * 999 + b"\n"
        said = 0
        while b"reads too slowly" not in server.stderr.encode() and said < 20_000:
            says(speaker, line * 100)
            said += 100
            assert hears(listener, line * 100) == line * 100
        assert said < 20_000
        assert len(ended(deaf)) < said * len(line)
        speaker.sendall(b"where is he?\n")
        assert hears(listener, b"where is he?\n") == b"where is he?\n"


def ended(member: socket.socket) -> bytes:
    """What a member has still to hear before it is put out; it may be put out by a reset."""
    member.settimeout(5)
    found = bytearray()
    try:
        while piece := member.recv(1 << 16):
            found += piece
    except ConnectionResetError:
        return bytes(found)
    except TimeoutError as error:
        raise AssertionError("it is not put out") from error
    return bytes(found)


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.6.2")
@pytest.mark.mutant("it asks to write for ever", faulty("chat_server", "POLL_MASK"))
def test_a_silent_room_costs_no_processor_time(lab: Lab) -> None:
    """A socket can nearly always be written to. Who leaves POLLOUT in the mask is woken at once, again and again."""
    with lab["right"].deploy("chat_server", port=PORT) as server, ExitStack() as stack:
        one, other = members(lab, stack, 2)
        one.sendall(b"hello\n")
        assert hears(other, b"hello\n") == b"hello\n"
        before = proc.processor_ticks(lab["right"], server.pid)
        assert not comes_true(lambda: not hears_nothing(one), timeout=1)  # a second, in which nothing happens
        assert proc.processor_ticks(lab["right"], server.pid) - before < 20


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.6.2")
@pytest.mark.mutant("it passes on what has come", faulty("chat_server", "SPLIT_LINES"))
def test_there_is_a_limit_to_members_and_to_lines(lab: Lab) -> None:
    """What a stranger can make a server keep must have a bound: the number of members, and a line without an end."""
    with lab["right"].deploy("chat_server", "--members", "2", port=PORT), ExitStack() as stack:
        one, talker = members(lab, stack, 2)
        (stranger,) = members(lab, stack, 1)
        assert tcp.read_to_end(stranger) == b"there are too many members\n"
        talker.sendall(b"x" * 10_000)
        assert ended(talker) == b"your line is too long\n"
        (successor,) = members(lab, stack, 1)
        successor.sendall(b"is there room?\n")
        assert hears(one, b"is there room?\n") == b"is there room?\n"


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.6.2")
@pytest.mark.mutant("it closes behind its last words", faulty("chat_server", "LAST_WORDS_LOST"))
def test_who_is_put_out_hears_why_although_he_talks_on(lab: Lab) -> None:
    """To close a connection in which something lies unread resets it, and a reset takes back words on their way.

    So the server ends its own side only, and throws away what it is still told until the other side has ended too.
    """
    with lab["right"].deploy("chat_server", "--members", "1", port=PORT) as server, ExitStack() as stack:
        (talker,) = members(lab, stack, 1)
        proc.pause(lab["right"], server)
        stranger = stack.enter_context(lab["left"].connect(lab["right"].address(), PORT))
        says(stranger, b"hello?\n")
        server.signal(signal.SIGCONT)
        assert tcp.read_to_any_end(stranger) == b"there are too many members\n"
        says(talker, b"x" * 50_000)
        assert tcp.read_to_any_end(talker) == b"your line is too long\n"
        stranger.close()
        talker.close()
        (successor,) = members(lab, stack, 1)
        assert hears_nothing(successor)


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.6.1")
@pytest.mark.mutant("it does not say when its input has ended", faulty("chat_client", "NO_FAREWELL"))
def test_a_client_whose_input_ends_says_so_and_ends_with_the_server(lab: Lab) -> None:
    """The end of its input becomes the FIN of its side; the server sees it off, and the other FIN ends the client."""
    with lab["right"].deploy("chat_server", port=PORT), ExitStack() as stack:
        (other,) = members(lab, stack, 1)
        client = lab["left"].start(
            *(lab.program("chat_client"), "--host", lab["right"].address(), "--port", str(PORT)), stdin=b"hello\n"
        )
        assert hears(other, b"hello\n") == b"hello\n"
        assert comes_true(lambda: client.exit_code == 0)


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.6.1")
@pytest.mark.mutant("it tells everyone what he has said himself", faulty("chat_server", "TO_SENDER"))
def test_two_people_talk(lab: Lab) -> None:
    """Two clients whose input stays open: each prints what the other has typed, and nothing else."""
    with lab["right"].deploy("chat_server", port=PORT), ExitStack() as stack:
        anna, berta = Person(lab, stack), Person(lab, stack)
        wait_until(lambda: connected(lab) == 2 and not waiting(lab["right"]), timeout=10, what="both to be connected")
        anna.types(b"hello\n")
        berta.sees(b"hello\n")
        berta.types(b"good day\nhow are you?\n")
        anna.sees(b"good day\nhow are you?\n")


def connected(lab: Lab) -> int:
    return sum(one.state == "ESTABLISHED" and one.local[1] == PORT for one in lab["right"].sockets())


class Person:
    """Somebody at a chat client: its input and output are pipes."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        keyboard, self._fingers = os.pipe()
        self._eyes, screen = os.pipe()
        errors = os.open(os.devnull, os.O_WRONLY)
        program = (lab.program("chat_client"), "--host", lab["right"].address(), "--port", str(PORT))
        for descriptor in (self._fingers, self._eyes):
            stack.callback(os.close, descriptor)
        self._client = lab.backend.spawn(
            "left", program, environment=dict(os.environ), cwd=Path.cwd(), files=(keyboard, screen, errors)
        )
        for descriptor in (keyboard, screen, errors):
            os.close(descriptor)
        stack.callback(self._end)

    def types(self, text: bytes) -> None:
        os.write(self._fingers, text)

    def sees(self, text: bytes) -> None:
        """Read until this has been seen; anything else is a failure."""
        os.set_blocking(self._eyes, False)
        found = bytearray()

        def has_seen() -> bool:
            try:
                found.extend(os.read(self._eyes, 4096))
            except BlockingIOError:
                return False
            return len(found) >= len(text)

        comes_true(has_seen)
        assert bytes(found) == text

    def _end(self) -> None:
        self._client.signal(signal.SIGTERM)
        if self._client.wait(5) is None:
            raise WaitTimeoutError("the chat client does not end")


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.6.1")
@pytest.mark.mutant("it does not say when its input has ended", faulty("chat_client", "NO_FAREWELL"))
def test_what_is_typed_never_enters_the_client(lab: Lab) -> None:
    """strace(1) shows splice from stdin into a pipe and from the pipe into the socket, and no read of the text.

    The kernel moves references to pages; the program only says from where to where.
    """
    strace = lab["left"].run("strace", "-e", "trace=none", "true")
    if strace.exit_code:
        pytest.skip(f"strace cannot trace here: {strace.stderr.strip()}")
    with lab["right"].deploy("chat_server", port=PORT), ExitStack() as stack:
        (other,) = members(lab, stack, 1)
        client = lab["left"].start(
            *("strace", "-e", "trace=read,splice,sendto,write", lab.program("chat_client")),
            *("--host", lab["right"].address(), "--port", str(PORT)),
            stdin=b"a secret\n",
            environment={"ASAN_OPTIONS": "detect_leaks=0"},
        )
        assert hears(other, b"a secret\n") == b"a secret\n"
        assert comes_true(lambda: client.exit_code == 0)
    calls = client.stderr.splitlines()
    assert [line for line in calls if line.startswith("splice(0, ")]
    assert [line for line in calls if line.startswith("splice(") and line.endswith(" = 9")][1:]
    assert not [line for line in calls if "a secret" in line]
