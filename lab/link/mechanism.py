"""Which of its two ways an interface gets its impairments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Literal

from lab.link.qdisc import Kind
from lab.plan.model import Impairment, PlannedInterface

Mechanism = Literal["none", "tbf", "netem", "wire"]


def mechanism(interface: PlannedInterface, kinds: Collection[Kind]) -> Mechanism:
    """Return how an interface is built, on a kernel that has these queueing disciplines."""
    if interface.wire:
        return "wire"
    return kernels(interface.out, interface.incoming, kinds) or "wire"


def kernels(
    out: Impairment | None, incoming: Impairment | None, kinds: Collection[Kind]
) -> Literal["none", "tbf", "netem"] | None:
    """Return how the kernel would do it: None if it cannot."""
    wanted = [one for one in (out, incoming) if one]
    if not wanted:
        return "none"
    has_rate = any(one.rate_bit for one in wanted)
    if "tbf" in kinds and all(_is_rate_alone(one) for one in wanted):
        return "tbf"
    if "netem" in kinds and ("tbf" in kinds or not has_rate):
        return "netem"
    return None


def _is_rate_alone(impairment: Impairment) -> bool:
    return replace(impairment, rate_bit=0, queue_bytes=0) == Impairment()
