"""The timeline's events, in the order of time."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from lab.faults.places import interfaces
from lab.plan.impairments import impairments
from lab.plan.model import PlannedEvent, impairment_text
from lab.spec.events import fault_of, impaired

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.plan.model import PlannedInterface
    from lab.spec.models import EventSpec, Topology


def timeline(topology: Topology, planned: Mapping[str, Mapping[str, PlannedInterface]]) -> tuple[PlannedEvent, ...]:
    """Plan the events; one that impairs several interfaces becomes several."""
    events = (one for event in topology.timeline for one in _events(event, planned))
    return tuple(sorted(events, key=attrgetter("at_us")))


def _events(event: EventSpec, planned: Mapping[str, Mapping[str, PlannedInterface]]) -> Iterator[PlannedEvent]:
    fault = fault_of(event)
    if fault.action != "impair":
        yield PlannedEvent(event.at, fault)
        return
    by_place = {(node, one.name): one for node, found in planned.items() for one in found.values()}
    wiring = {node: {one.name: network for network, one in found.items()} for node, found in planned.items()}
    for place in interfaces(wiring, event.impair):
        out, incoming = impairments(impaired(event), by_place[place].mtu)
        details = impairment_text(out, incoming)
        yield PlannedEvent(event.at, replace(fault, targets=(":".join(place),), details=details), out, incoming)
