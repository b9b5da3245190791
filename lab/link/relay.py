"""Carries frames from one end of each wire to the other, when their time has come."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import heapq
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count

from lab.errors import BackendError
from lab.link.device import Ends
from lab.link.line import Departure
from lab.link.rules import Way
from lab.link.wire import Wire

Change = Callable[[int], Iterable[tuple[Wire, Way, Departure]]]
"""Changes a wire, given the time, and returns what is to be sent because of it."""

_BATCH = 64  # frames that are read from one end before the others have their turn
_BURST = 10_000  # as many as may wait at one end
_NANOSECONDS = 1_000_000_000
_LOOK_AGAIN = 0.1  # seconds
_SET_TIMER_SLACK = 29  # PR_SET_TIMERSLACK, prctl(2)


class Relay:
    """Runs wires in the thread that calls `run`; everything else about them may be done from any thread."""

    def __init__(self, wires: Iterable[tuple[Wire, Ends]]) -> None:
        self._sources: dict[int, tuple[Wire, Way, int, int]] = {}
        self._sinks: dict[tuple[Wire, Way], int] = {}
        for wire, ends in wires:
            self._sources[ends.node] = wire, "out", ends.port, ends.largest
            self._sources[ends.port] = wire, "in", ends.node, ends.largest
            self._sinks[wire, "out"], self._sinks[wire, "in"] = ends.port, ends.node
        self._alive = set(self._sources)  # those whose device has not been taken away
        self._on_the_way: list[tuple[int, int, int, bytes]] = []  # (when, number, to which end, frame): a heap
        self._numbers = count()
        self._calls: deque[tuple[Change, threading.Event]] = deque()
        self._wakened = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread: int | None = None
        self._has_ended = False
        self._lock = threading.Lock()

    @property
    def has_ended(self) -> bool:
        """Whether it carries frames no more."""
        return self._has_ended

    def perform(self, change: Change) -> None:
        """Have a change made between two frames, and return when it is made.

        Raises:
            BackendError: the relay has ended: the lab is down.
        """
        if self._thread == threading.get_ident():  # a predicate asks for it
            self._make(change)
            return
        done = threading.Event()
        with self._lock:
            if not self._has_ended:
                self._calls.append((change, done))
                os.eventfd_write(self._wakened, 1)
        while not done.wait(_LOOK_AGAIN):
            if self._has_ended:
                msg = "the lab went down meanwhile"
                raise BackendError(msg)

    def forget(self) -> None:
        """Drop what is on its way; only for `obey` of `run`."""
        self._on_the_way.clear()

    def run(self, control: int, obey: Callable[[], bool]) -> None:
        """Carry frames until told to stop, and then what is on its way already.

        Args:
            control: a descriptor; when it can be read `obey` is called, and says whether to go on.
        """
        _hurry()
        self._thread = threading.get_ident()
        for end in self._sources:
            os.set_blocking(end, False)
        going_on = True
        while True:
            pause = self._send_what_is_due()
            if not going_on and pause is None:
                return
            watched = (control, self._wakened, *self._alive) if going_on else ()
            ready, _, _ = select.select(watched, (), (), pause)
            changes = [descriptor for descriptor in (self._wakened, control) if descriptor in ready]
            for descriptor in tuple(self._alive) if changes else ready:
                # What came before a change is not to be subject to it.
                self._carry(descriptor, _BURST if changes else _BATCH)
            if self._wakened in changes:
                self._make_changes()
            if control in changes:
                going_on = obey()

    def close(self) -> None:
        """Close what it has opened itself; the ends are their owner's."""
        with self._lock:
            self._has_ended = True
            os.close(self._wakened)

    def _carry(self, source: int, most: int) -> None:
        wire, way, sink, largest = self._sources[source]
        for _frame in range(most):
            try:
                frame = os.read(source, largest)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # which is said once; everything else is said for ever
                    self._alive.discard(source)
                return
            if not frame:
                self._alive.discard(source)
                return
            if wire.is_plain(way) and not self._on_the_way:
                _write(sink, frame)
                continue
            now = time.monotonic_ns()
            self._schedule(wire.decide(way, frame, now), sink, now)

    def _schedule(self, departures: Iterable[Departure], sink: int, now: int) -> None:
        for when, frame in departures:
            if when <= now and not self._on_the_way:
                _write(sink, frame)
            else:
                heapq.heappush(self._on_the_way, (when, next(self._numbers), sink, frame))

    def _send_what_is_due(self) -> float | None:
        """Return the seconds until the next frame is due; None if there is none."""
        while self._on_the_way:
            missing = self._on_the_way[0][0] - time.monotonic_ns()
            if missing > 0:
                return missing / _NANOSECONDS
            _when, _number, sink, frame = heapq.heappop(self._on_the_way)
            _write(sink, frame)
        return None

    def _make_changes(self) -> None:
        os.eventfd_read(self._wakened)
        while self._calls:
            change, done = self._calls.popleft()
            self._make(change)
            done.set()

    def _make(self, change: Change) -> None:
        now = time.monotonic_ns()
        for wire, way, departure in change(now):
            self._schedule([departure], self._sinks[wire, way], now)


def _write(sink: int, frame: bytes) -> None:
    try:  # noqa: SIM105 - contextlib.suppress takes as long as the system call
        os.write(sink, frame)
    except OSError:
        pass  # an interface that is down, or a full queue: the frame is lost, as it would be on a cable


def _hurry() -> None:
    """Let the calling thread run before others, if it may, and its timers be exact: a cable waits for nobody.

    On a busy machine an ordinary thread is woken milliseconds late. One with real-time priority is not, and it
    cannot take the machine over: it sleeps whenever no frame is there, and the kernel keeps a share for others.
    """
    ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, ctypes.c_ulong(1), 0, 0, 0)
    with contextlib.suppress(PermissionError):  # an ordinary user's wires are as exact as the machine is idle
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
