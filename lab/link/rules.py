"""What a test asks of a wire: which packets, and what is to become of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from lab.trace.packet import Packet

Predicate = Callable[[Packet], bool]
Action = Literal["drop", "hold", "duplicate", "reorder", "delay", "corrupt"]
Way = Literal["out", "in"]


@dataclass(slots=True, eq=False)
class Rule:
    """Something to be done to packets, until it is cancelled.

    Attributes:
        where: None for every packet.
        nth: which of the packets that it holds for, counted from 1 when the rule was made; empty for all.
        way: as the node sees it; None for both, which are then counted together.
        amount: nanoseconds for "delay", copies for "duplicate"; nothing otherwise.
        matched: how many packets it has held for.
        done: how many of them something was done to.
    """

    action: Action
    where: Predicate | None = None
    nth: Collection[int] = ()
    way: Way | None = None
    amount: int = 0
    matched: int = field(default=0, init=False)
    done: int = field(default=0, init=False)

    def applies(self, packet: Packet) -> bool:
        """Whether it is this packet's turn; counts it."""
        if self.way not in (None, packet.direction) or (self.where and not self.where(packet)):
            return False
        self.matched += 1
        if self.nth and self.matched not in self.nth:
            return False
        self.done += 1
        return True

    def __str__(self) -> str:
        told = [] if self.where is None else [getattr(self.where, "__name__", "predicate")]
        if self.nth:
            told.append(f"nth={', '.join(map(str, sorted(self.nth)))}")
        if self.way:
            told.append(self.way)
        return f"{self.action}({', '.join(told)})"


@dataclass(frozen=True, slots=True)
class Intervention:
    """Something that a wire did to a packet besides carrying it.

    Attributes:
        action: "drop", "hold", "release", "duplicate", "reorder", "delay" or "corrupt".
        rule: what made it so: a rule of the test's ("drop(is_syn, nth=2)"), or the impairment's key ("loss").
        packet: as the node sent it, or would have been sent it.
    """

    action: str
    rule: str
    packet: Packet

    @property
    def time_ns(self) -> int:
        """When it came to the wire, in nanoseconds since 1970."""
        return self.packet.time_ns

    @property
    def direction(self) -> str:
        """As the node sees it: "out" or "in"."""
        return self.packet.direction
