"""Faults and the marks that they leave in a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

Action = Literal["cut", "restore", "partition", "kill", "start", "impair"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is done to a lab while it runs.

    Attributes:
        targets: as a person names them, see `lab.faults.places`; for `kill` and `start` one node, for
            `impair` one node or interface, for `restore` none to mean all that is cut.
        carrier: a cut takes the carrier of the nodes' interfaces away as well, as a pulled plug does.
        details: what comes behind the targets in a mark, like "delay=10ms loss=1%".
    """

    action: Action
    targets: tuple[str, ...] = ()
    carrier: bool = False
    details: str = ""

    def __str__(self) -> str:
        carrier = "carrier" if self.carrier else ""
        return " ".join(filter(None, (self.action, *self.targets, carrier, self.details)))

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """Rebuild a fault from what `dataclasses.asdict` gave."""
        return cls(**{**data, "targets": tuple(data["targets"])})


@dataclass(frozen=True, slots=True)
class Mark:
    """A line of a trace that is no packet.

    Attributes:
        time_ns: since the epoch, on the clock of captures (CLOCK_REALTIME).
    """

    time_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class FaultState:
    """What is wrong with a running lab.

    Attributes:
        cuts: in the words they were asked for.
        off: nodes that were killed.
        marks: all that was done, and by the timeline what could not be, in order.
        pending: how many events of the timeline are still to come, and None if it has not been started.
    """

    cuts: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    pending: int | None = None

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """Rebuild a state from what `dataclasses.asdict` gave."""
        marks = tuple(Mark(**mark) for mark in data["marks"])
        return cls(tuple(data["cuts"]), tuple(data["off"]), marks, data["pending"])
