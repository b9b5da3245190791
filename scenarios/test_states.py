"""The states of a TCP connection (the book's 3.4.1; RFC 9293 3.3.2): the whole diagram, walked edge by edge.

    left ── wire ── right

The wire keeps every segment back until it is told to let it pass, so each state lasts long enough to be looked at.
"""

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from lab.link.instrument import Link, Order
from lab.link.rules import Way
from lab.mutants import sysctl
from lab.probes import tcp_pair
from lab.probes.tcp_pair import CLOSED, PORT, await_state
from lab.running import Lab
from lab.trace.packet import Packet
from lab.trace.tcp import ACK, FIN, RST, SEQUENCE_NUMBERS, SYN
from lab.trace.trace import Trace
from lab.wait import wait_until

WAYS: tuple[tuple[Way, Way], ...] = (("out", "in"), ("in", "out"))
SYN_ACK, FIN_ACK = SYN | ACK, FIN | ACK
LISTEN, SYN_SENT, SYN_RECV, ESTABLISHED = "LISTEN", "SYN_SENT", "SYN_RECV", "ESTABLISHED"
FIN_WAIT1, FIN_WAIT2, CLOSING, TIME_WAIT = "FIN_WAIT1", "FIN_WAIT2", "CLOSING", "TIME_WAIT"
CLOSE_WAIT, LAST_ACK = "CLOSE_WAIT", "LAST_ACK"

OPENING = {
    (CLOSED, LISTEN),
    (CLOSED, SYN_SENT),
    (LISTEN, CLOSED),
    (LISTEN, SYN_RECV),
    (LISTEN, SYN_SENT),
    (SYN_SENT, CLOSED),
    (SYN_SENT, SYN_RECV),
    (SYN_SENT, ESTABLISHED),
    (SYN_RECV, LISTEN),
    (SYN_RECV, ESTABLISHED),
}
ENDING = {
    (SYN_RECV, FIN_WAIT1),
    (ESTABLISHED, FIN_WAIT1),
    (ESTABLISHED, CLOSE_WAIT),
    (FIN_WAIT1, FIN_WAIT2),
    (FIN_WAIT1, CLOSING),
    (FIN_WAIT1, TIME_WAIT),
    (FIN_WAIT2, TIME_WAIT),
    (CLOSING, TIME_WAIT),
    (TIME_WAIT, CLOSED),
    (CLOSE_WAIT, LAST_ACK),
    (LAST_ACK, CLOSED),
}
NOT_WALKED = {
    (LISTEN, SYN_SENT),  # there is no system call for it
    (TIME_WAIT, CLOSED),  # takes a minute: see test_time_wait.py
}
WAITING = {SYN_SENT, SYN_RECV, FIN_WAIT1, CLOSING, LAST_ACK}  # for something to be acknowledged


def flags(packet: Packet) -> int:
    """The flags that make a segment what it is; 0 without TCP."""
    return packet.tcp.flags & (SYN | FIN | RST | ACK) if packet.tcp else 0


def segments(trace: Trace, way: Way) -> Trace:
    return trace.where(lambda packet: packet.tcp is not None and packet.direction == way)


def is_bare_ack(packet: Packet) -> bool:
    """Whether the segment does nothing but acknowledge."""
    return flags(packet) == ACK and not packet.payload_length


class Gate:
    """Keeps the segments of a wire back, each direction by itself."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._caught: dict[Way, list[int]] = {}
        self._holds: dict[Way, Order] = {"out": self._hold("out"), "in": self._hold("in")}

    def let_pass(self, *, out: int | None = None, incoming: int | None = None) -> None:
        """Wait for segments with these flags, then let pass what has come up to now, but nothing that it gives rise to.

        A direction that is not named stays shut.
        """
        wanted: dict[Way, int | None] = {"out": out, "in": incoming}
        ways = [way for way, kind in wanted.items() if kind is not None]
        caught = self._caught
        wait_until(lambda: all(wanted[way] in caught[way] for way in ways), timeout=5, what=f"segments {wanted}")
        before = [self._holds[way] for way in ways]
        self._holds |= {way: self._hold(way) for way in ways}
        for order in before:
            order.cancel()

    def open(self) -> None:
        """Keep nothing back any more."""
        self._link.clear()

    def _hold(self, way: Way) -> Order:
        caught: list[int] = []

        def is_kept(packet: Packet) -> bool:
            if packet.tcp is None or self._caught.get(way) is not caught:
                return False
            caught.append(flags(packet))
            return True

        order = self._link.hold(is_kept, direction=way)
        self._caught[way] = caught  # from here on this one keeps segments, and the one before does not
        return order


@dataclass
class Walk:
    """One connection's way through the diagram; both ends have the same port number.

    Attributes:
        at: the state of each end.
        edges: the steps taken so far, at either end.
    """

    lab: Lab
    gate: Gate
    port: int
    at: dict[str, str] = field(default_factory=lambda: {"left": CLOSED, "right": CLOSED})
    edges: set[tuple[str, str]] = field(default_factory=set)

    def arrive(self, **states: str) -> None:
        """Check that the ends named come to these states, and that the timer runs which belongs to the state."""
        for name, wanted in states.items():
            assert (name, await_state(self.lab[name], self.port, wanted)) == (name, wanted)
            entry = tcp_pair.entry(self.lab[name], self.port)
            assert (wanted, entry and entry.timer) == (wanted, entry and timer(wanted, orphan=entry.inode == 0))
            self.edges.add((self.at[name], wanted))
            self.at[name] = wanted

    def make_socket(self, name: str) -> socket.socket:
        """A socket of the node's that does not wait for anything."""
        made = tcp_pair.bound(self.lab[name], self.port)
        made.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        return made

    def connect(self, channel: socket.socket, name: str) -> None:
        """Ask the node's end for a connection."""
        assert channel.connect_ex((self.lab[name].address(), self.port)) == errno.EINPROGRESS


def timer(state: str, *, orphan: bool) -> str:
    """The timer that runs in a state: Linux lets an end that no program holds wait in FIN_WAIT2 for a minute only."""
    if state in WAITING:
        return "retransmit"
    return "time-wait" if state == TIME_WAIT or (state == FIN_WAIT2 and orphan) else ""


def one_after_the_other(walk: Walk) -> None:
    """The usual life: right listens, left connects and is the first to close."""
    gate = walk.gate
    with walk.make_socket("right") as listener, walk.make_socket("left") as client:
        listener.listen()
        walk.arrive(right=LISTEN)
        walk.connect(client, "right")
        walk.arrive(left=SYN_SENT)
        gate.let_pass(out=SYN)
        walk.arrive(right=SYN_RECV)
        gate.let_pass(incoming=SYN_ACK)
        walk.arrive(left=ESTABLISHED)
        gate.let_pass(out=ACK)
        walk.arrive(right=ESTABLISHED)
        server, _address = listener.accept()

    with server:  # client is closed
        walk.arrive(left=FIN_WAIT1)
        gate.let_pass(out=FIN_ACK)
        walk.arrive(right=CLOSE_WAIT)
        gate.let_pass(incoming=ACK)
        walk.arrive(left=FIN_WAIT2)
    walk.arrive(right=LAST_ACK)
    gate.let_pass(incoming=FIN_ACK)
    walk.arrive(left=TIME_WAIT)
    gate.let_pass(out=ACK)
    walk.arrive(right=CLOSED)


def both_connect(walk: Walk, one: socket.socket, other: socket.socket) -> None:
    """Both ask, and each SYN meets another on its way: nobody has to listen."""
    walk.connect(one, "right")
    walk.connect(other, "left")
    walk.arrive(left=SYN_SENT, right=SYN_SENT)
    walk.gate.let_pass(out=SYN, incoming=SYN)
    walk.arrive(left=SYN_RECV, right=SYN_RECV)


def both_at_once(walk: Walk) -> None:
    """Both connect and both close at the same time."""
    gate = walk.gate
    with walk.make_socket("left") as one, walk.make_socket("right") as other:
        both_connect(walk, one, other)
        gate.let_pass(out=SYN_ACK, incoming=SYN_ACK)
        walk.arrive(left=ESTABLISHED, right=ESTABLISHED)
    walk.arrive(left=FIN_WAIT1, right=FIN_WAIT1)
    gate.let_pass(out=FIN_ACK, incoming=FIN_ACK)
    walk.arrive(left=CLOSING, right=CLOSING)
    gate.let_pass(out=ACK, incoming=ACK)
    walk.arrive(left=TIME_WAIT, right=TIME_WAIT)


def over_before_it_began(walk: Walk) -> None:
    """Left closes before it knows that it is connected, and hears of its FIN's arrival by right's own FIN only."""
    gate = walk.gate
    with walk.make_socket("left") as one, walk.make_socket("right") as other:
        both_connect(walk, one, other)
        gate.let_pass(out=SYN_ACK)
        walk.arrive(right=ESTABLISHED)
        one.close()
        walk.arrive(left=FIN_WAIT1)
        walk.lab["left"].link().drop(is_bare_ack, direction="in")
        gate.let_pass(incoming=SYN_ACK)
        gate.let_pass(out=FIN_ACK)
        walk.arrive(right=CLOSE_WAIT)
    walk.arrive(right=LAST_ACK)
    gate.let_pass(incoming=FIN_ACK)
    walk.arrive(left=TIME_WAIT)
    gate.let_pass(out=ACK)
    walk.arrive(right=CLOSED)


def given_up(walk: Walk) -> None:
    """Left loses interest: its kernel resets what is answered, and right's socket is where it was before."""
    gate = walk.gate
    with walk.make_socket("right") as listener, walk.make_socket("left") as client:
        listener.listen()
        walk.arrive(right=LISTEN)
        walk.connect(client, "right")
        walk.arrive(left=SYN_SENT)
        gate.let_pass(out=SYN)
        walk.arrive(right=SYN_RECV)
        client.close()
        walk.arrive(left=CLOSED)
        gate.let_pass(incoming=SYN_ACK)
        gate.let_pass(out=RST)
        walk.arrive(right=LISTEN)
    walk.arrive(right=CLOSED)


def follow(lab: Lab, way: Callable[[Walk], None], port: int = PORT) -> set[tuple[str, str]]:
    """Let a connection go this way, and return the edges it took."""
    walk = Walk(lab, Gate(lab["left"].link()), port)
    way(walk)
    walk.gate.open()
    return walk.edges


@pytest.mark.book("3.4.1")
@pytest.mark.topology("two-hosts-wire.yaml")
@pytest.mark.mutant("right remembers no SYN", sysctl("right", "net.ipv4.tcp_syncookies", 2))
@pytest.mark.mutant("left does not wait", sysctl("left", "net.ipv4.tcp_max_tw_buckets", 0))
def test_a_connection_walks_every_edge_of_the_diagram(lab: Lab) -> None:
    """Four connections see all eleven states, CLOSED being no socket at all, by all the edges but two.

    Each step is one call or one segment, and the kernel's socket table shows where it leads. While an end waits for
    an acknowledgement its retransmission timer runs; in ESTABLISHED and CLOSE_WAIT there is none.
    """
    ways = one_after_the_other, both_at_once, over_before_it_began, given_up
    edges = set().union(*(follow(lab, way, PORT + number) for number, way in enumerate(ways)))

    assert edges == (OPENING | ENDING) - NOT_WALKED
    assert len({state for edge in edges for state in edge}) == 11


@pytest.mark.book("3.4.1")
@pytest.mark.topology("two-hosts-wire.yaml")
@pytest.mark.mutant("neither knows SACK", sysctl("left", "net.ipv4.tcp_sack", 0))
def test_two_that_connect_to_each_other_get_one_connection(lab: Lab) -> None:
    """A simultaneous open: SYN and SYN cross, then SYN+ACK and SYN+ACK, four segments instead of three.

    Today's kernel adds a bare ACK on either side, with a selective acknowledgement of the SYN that came twice; the
    book's did not.
    """
    with lab["left"].capture() as capture:
        follow(lab, both_at_once)

    for sender, receiver in WAYS:
        syn, *_ = sent = segments(capture.trace, sender)
        assert list(dict.fromkeys(map(flags, sent)))[:2] == [SYN, SYN_ACK]
        answer = segments(capture.trace, receiver).first(is_bare_ack)
        assert syn.tcp and answer.tcp
        assert answer.tcp.sack_blocks == ((syn.tcp.seq, (syn.tcp.seq + 1) % SEQUENCE_NUMBERS),)
