"""The quantities of a link: times, rates, queues and shares, written with their units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from lab.spec.quoting import show
from lab.spec.values import refused

_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,6})?"
DURATION = rf"{_NUMBER}(us|ms|s)"
RATE = rf"{_NUMBER}(bit|kbit|mbit|gbit)"
QUEUE = rf"({_NUMBER}(B|kB|KiB|MB|MiB)|[0-9]{{1,9}}p)"
SHARE = rf"{_NUMBER}%"

_MICROSECONDS = {"us": 1, "ms": 1000, "s": 1_000_000}
_BITS = {"bit": 1, "kbit": 1000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_BYTES = {"B": 1, "kB": 1000, "KiB": 1024, "MB": 1_000_000, "MiB": 1 << 20}
_PACKETS = "p"
_LONGEST = 60 * 1_000_000
_LATEST = 24 * 3600 * 1_000_000
_LEAST_RATE, _MOST_RATE = 1000, 10_000_000_000
_MOST_QUEUED = 1 << 30


@dataclass(frozen=True, slots=True)
class Queue:
    """How much may wait: bytes, or packets of the largest size; the other is 0."""

    size: int = 0
    packets: int = 0

    def in_bytes(self, largest_frame: int) -> int:
        """Return the queue in bytes, for frames of at most so many."""
        return self.size or self.packets * largest_frame


def duration(value: object) -> int:
    """Parse a time that a frame takes; return microseconds."""
    return _time(value, _LONGEST)


def moment(value: object) -> int:
    """Parse when something happens, from a beginning on; return microseconds."""
    return _time(value, _LATEST)


def _time(value: object, most: int) -> int:
    if not isinstance(value, str) or not re.fullmatch(DURATION, value):
        raise refused(f"found {show(value)}; a time is written like 250us, 10ms or 1.5s")
    found = _scaled(value, _MICROSECONDS)
    if found > most:
        raise refused(f"found {show(value)}; the most is {most // 1_000_000}s")
    return found


def rate(value: object) -> int:
    """Parse a rate; return bits a second."""
    if not isinstance(value, str) or not re.fullmatch(RATE, value):
        raise refused(f"found {show(value)}; a rate is written like 500kbit, 10mbit or 1gbit")
    found = _scaled(value, _BITS)
    if not _LEAST_RATE <= found <= _MOST_RATE:
        raise refused(f"found {show(value)}; a rate is 1kbit at the least and 10gbit at the most")
    return found


def queue(value: object) -> Queue:
    """Parse the length of a queue."""
    if isinstance(value, Queue):
        return value
    if not isinstance(value, str) or not re.fullmatch(QUEUE, value):
        raise refused(f"found {show(value)}; a queue is written in bytes like 45kB or 64KiB, or in packets like 50p")
    is_packets = value.endswith(_PACKETS)
    found = int(value.removesuffix(_PACKETS)) if is_packets else _scaled(value, _BYTES)
    if not 1 <= found <= _MOST_QUEUED:
        raise refused(f"found {show(value)}; a queue has room for something, and for 1024MiB at the most")
    return Queue(packets=found) if is_packets else Queue(size=found)


def share(value: object) -> float:
    """Parse how likely something is; return a number from 0 to 1."""
    if isinstance(value, str) and re.fullmatch(SHARE, value):
        found = float(Decimal(value.removesuffix("%")) / 100)
        if found <= 1:
            return found
        raise refused(f"found {show(value)}; the most is 100%")
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1:
        return float(value)
    # A bare 1 could be meant as 1% and as all of them.
    raise refused(f"found {show(value)}; a share is written like 1% or 0.01, and all of them as 100%")


def _scaled(text: str, units: dict[str, int]) -> int:
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", text).groups()  # type: ignore[union-attr]  # checked before
    return int(Decimal(number) * units[unit])
