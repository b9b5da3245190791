from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.errors import BackendError
from lab.link.device import Ends
from lab.link.instrument import Link
from lab.link.relay import Relay
from lab.link.wire import Wire
from lab.plan.model import Impairment
from lab.trace.packet import Packet

HEADER = bytes(12) + b"\x88\xb5"
SOON = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Cable:
    """A wire whose devices are sockets: what the node and the switch would have in their hands."""

    node: socket.socket
    port: socket.socket
    wire: Wire
    link: Link
    relay: Relay

    def arrives(self, at: socket.socket) -> bytes:
        at.settimeout(SOON)
        return at.recv(2000).removeprefix(HEADER)


@contextmanager
def cable(out: Impairment | None = None, **options: object) -> Iterator[Cable]:
    with ExitStack() as stack:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _end in range(2)]
        control, ours = socket.socketpair()
        for one in (*pairs[0], *pairs[1], control, ours):
            stack.enter_context(one)
        wire = Wire("a", "eth0", out, **options)  # type: ignore[arg-type]
        relay = Relay([(wire, Ends(pairs[0][1].fileno(), pairs[1][1].fileno(), 1518))])
        thread = threading.Thread(target=relay.run, args=(control.fileno(), lambda: False))
        thread.start()
        try:
            yield Cable(pairs[0][0], pairs[1][0], wire, Link(wire, relay), relay)
        finally:
            ours.send(b"stop")
            thread.join(SOON)
            relay.close()
        assert not thread.is_alive()


def test_frames_pass_both_ways_in_order() -> None:
    with cable() as one:
        for number in range(10):
            one.node.send(HEADER + b"out%d" % number)
            one.port.send(HEADER + b"in%d" % number)
        assert [one.arrives(one.port) for _frame in range(10)] == [b"out%d" % number for number in range(10)]
        assert [one.arrives(one.node) for _frame in range(10)] == [b"in%d" % number for number in range(10)]


def test_what_was_sent_before_an_order_is_not_subject_to_it() -> None:
    with cable() as one:
        for number in range(200):
            one.node.send(HEADER + b"%d" % number)
            if number == 99:
                one.link.drop()
        assert [one.arrives(one.port) for _frame in range(100)] == [b"%d" % number for number in range(100)]
        one.link.clear()
        one.node.send(HEADER + b"last")
        assert one.arrives(one.port) == b"last"
        assert len(one.link.log) == 100


def test_held_frames_go_on_when_they_are_released() -> None:
    with cable() as one:
        one.link.hold(direction="out")
        for number in range(3):
            one.node.send(HEADER + b"%d" % number)
        one.port.send(HEADER + b"back")
        assert one.arrives(one.node) == b"back"
        one.link.release()
        assert [one.arrives(one.port) for _frame in range(3)] == [b"0", b"1", b"2"]
        assert one.wire.rules == ()


def test_an_order_can_be_cancelled_and_says_how_often_it_was_done() -> None:
    with cable() as one:
        order = one.link.duplicate(nth=1)
        for _frame in range(2):
            one.node.send(HEADER + b"x")
        assert [one.arrives(one.port) for _frame in range(3)] == [b"x"] * 3
        assert order.done == 1
        order.cancel()
        assert one.wire.rules == ()


def test_a_delayed_frame_arrives_behind_the_next() -> None:
    with cable() as one:
        one.link.delay(0.05, nth=1)
        one.node.send(HEADER + b"slow")
        one.node.send(HEADER + b"quick")
        assert [one.arrives(one.port) for _frame in range(2)] == [b"quick", b"slow"]


def test_a_predicate_may_give_orders() -> None:
    with cable() as one:

        def first(_packet: Packet) -> bool:
            one.link.clear()
            return True

        one.link.drop(first)
        for frame in (b"1", b"2"):
            one.node.send(HEADER + frame)
        assert one.arrives(one.port) == b"2"


def test_what_is_on_its_way_arrives_although_the_relay_ends() -> None:
    with ExitStack() as stack:
        with cable(Impairment(delay_us=50_000)) as one:
            far_end = stack.enter_context(one.port.dup())
            one.node.send(HEADER + b"late")
            one.link.clear()  # behind it the frame has been read
        far_end.settimeout(SOON)
        assert far_end.recv(100) == HEADER + b"late"


def test_an_end_that_is_gone_loses_frames_and_stops_nobody() -> None:
    with cable() as one:
        one.port.close()
        one.node.send(HEADER + b"lost")
        one.link.clear()


def test_orders_for_a_relay_that_has_ended_are_refused() -> None:
    with cable() as one:
        pass
    with pytest.raises(BackendError, match="the lab went down"):
        one.link.drop()


def test_nothing_stays_open_behind_a_relay() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with cable():
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
