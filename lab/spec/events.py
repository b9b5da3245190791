"""What an event of the timeline comes to. Needed to check a file and to plan a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.faults.model import Fault
from lab.spec.models import ACTIONS, ImpairmentSpec, InterfaceSpec

if TYPE_CHECKING:
    from lab.spec.models import EventSpec


def fault_of(event: EventSpec) -> Fault:
    """Return what the event does."""
    (action,) = (one for one in ACTIONS if one in event.model_fields_set)
    targets = getattr(event, action)
    if action == "partition":
        targets = tuple(",".join(group) for group in targets)
    return Fault(action, (targets,) if isinstance(targets, str) else targets, event.carrier)


def impaired(event: EventSpec) -> InterfaceSpec:
    """Return the impairments that stand in an event as those of an interface."""
    keys = (*ImpairmentSpec.model_fields, "out", "incoming")
    return InterfaceSpec.model_construct(**{key: getattr(event, key) for key in keys})
