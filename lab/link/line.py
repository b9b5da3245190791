"""One direction of a wire: what chance and the impairment make of a frame. No input or output, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from lab.plan.model import Impairment

Departure = tuple[int, bytes]
"""When a frame leaves the wire, in nanoseconds of the caller's clock, and the frame."""

UNIMPAIRED = Impairment()
_ETHERNET_HEADER = 14
_NANOSECONDS = 1_000_000_000


class Line:
    """A transmitter with a queue, and the way to the other end behind it.

    A frame that is not lost waits until those before it are sent at the line's rate, and is then on its way for
    the delay. The same seed, impairment and number of frames give the same losses, whatever the time.
    """

    def __init__(self, impairment: Impairment | None, seed: str, note: Callable[[str, str, bytes], None]) -> None:
        """`note` is called with an action, the reason and the frame wherever a frame is not simply passed on."""
        self.impairment = impairment or UNIMPAIRED
        self.random = Random(seed)  # noqa: S311 - chance that can be repeated is the point
        self._note = note
        self._free_at = 0
        self._queue: deque[tuple[int, int]] = deque()  # (when it is sent, bytes)
        self._queued = 0

    def transmit(self, frame: bytes, now: int, late: int = 0) -> list[Departure]:
        """Return when the frame leaves, and any copy of it; nothing if it is lost.

        Args:
            now: nanoseconds, never less than the last time.
            late: nanoseconds on top of the delay.
        """
        impairment = self.impairment
        if impairment is UNIMPAIRED:
            return [(now + late, frame)]
        copies = 1
        if impairment.loss and self.random.random() < impairment.loss:
            self._note("drop", "loss", frame)
            return []
        if impairment.duplicate and self.random.random() < impairment.duplicate:
            self._note("duplicate", "duplicate", frame)
            copies = 2
        if impairment.corrupt and self.random.random() < impairment.corrupt:
            self._note("corrupt", "corrupt", frame)
            frame = self.corrupted(frame)
        return [departure for _copy in range(copies) for departure in self._send(frame, now, late)]

    def corrupted(self, frame: bytes) -> bytes:
        """Return the frame with one bit turned over, behind the Ethernet header: it is to arrive."""
        first = min(_ETHERNET_HEADER, len(frame) - 1)
        place, bit = self.random.randrange(first, len(frame)), self.random.randrange(8)
        return frame[:place] + bytes([frame[place] ^ 1 << bit]) + frame[place + 1 :]

    def _send(self, frame: bytes, now: int, late: int) -> list[Departure]:
        sent = self._sent_at(frame, now)
        if sent is None:
            self._note("drop", "queue", frame)
            return []
        impairment = self.impairment
        if impairment.reorder and self.random.random() < impairment.reorder:
            self._note("reorder", "reorder", frame)
            return [(sent + late, frame)]
        jitter = impairment.jitter_us and self.random.randint(-impairment.jitter_us * 1000, impairment.jitter_us * 1000)
        return [(sent + impairment.delay_us * 1000 + jitter + late, frame)]

    def _sent_at(self, frame: bytes, now: int) -> int | None:
        """Return when the last bit is sent; None if the queue has no room for the frame."""
        rate = self.impairment.rate_bit
        if not rate:
            return now
        while self._queue and self._queue[0][0] <= now:
            self._queued -= self._queue.popleft()[1]
        size = len(frame)
        if self._queued and self._queued + size > self.impairment.queue_bytes:
            return None
        self._free_at = max(self._free_at, now) + size * 8 * _NANOSECONDS // rate
        self._queue.append((self._free_at, size))
        self._queued += size
        return self._free_at
