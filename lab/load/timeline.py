"""What must hold of the timeline: every target is there, and every event makes sense after those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.errors import UsageError
from lab.faults.cuts import Cuts, cut_of
from lab.faults.places import interfaces
from lab.load.problem import Problem
from lab.spec.directions import directions, faults
from lab.spec.events import fault_of, impaired

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.faults.model import Fault
    from lab.faults.places import Wiring
    from lab.spec.models import EventSpec, Topology


def problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong, in the order in which it would happen."""
    wiring = {
        node: {f"eth{index}": network for index, network in enumerate(spec.networks)}
        for node, spec in topology.nodes.items()
    }
    cuts = Cuts()
    for index, event in sorted(enumerate(topology.timeline), key=lambda entry: entry[1].at):
        fault = fault_of(event)
        path = ("timeline", index, fault.action)
        if fault.action in ("kill", "start"):
            (name,) = fault.targets
            if name not in topology.nodes:
                yield Problem(path, f'unknown node "{name}"', unknown=name, known=topology.nodes)
            continue
        try:
            cuts = _after(cuts, fault, wiring)
        except UsageError as error:
            yield Problem(path, str(error))
        if fault.action == "impair":
            yield from (Problem(("timeline", index, key), text) for key, text in _senseless(event))


def _after(cuts: Cuts, fault: Fault, wiring: Wiring) -> Cuts:
    """Return the cuts in force once this has been done.

    Raises:
        UsageError: it cannot be.
    """
    if fault.action == "impair":
        interfaces(wiring, fault.targets[0])
        return cuts
    if fault.action == "restore":
        return cuts.restoring(cut_of(wiring, fault)) if fault.targets else Cuts()
    return cuts.adding(cut_of(wiring, fault))


def _senseless(event: EventSpec) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong with it), once where both directions have it from one key."""
    yield from dict.fromkeys(found for one in directions(impaired(event)).values() for found in faults(one))
