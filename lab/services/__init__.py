"""What runs in the nodes: one file for each kind of service, and one table of them.

A kind is a model of its options that makes a `Program` of them: command line, files, ports. Everything else
(order, start, readiness, logs, restart, errors) is the same for all.

The two functions here import what they need when they are called: a lab without services need not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.backends.base import RunningLab
    from lab.services.kind import Kind


def kinds() -> Mapping[str, type[Kind]]:
    """Return every kind of service that a topology may name."""
    from lab.services.table import Kinds  # noqa: PLC0415 - see above

    return Kinds()


def start_all(lab: RunningLab, on_step: Callable[[str], None] = lambda _step: None) -> None:
    """Start every service of the lab's plan and return once all are ready.

    Args:
        on_step: called with what is being waited for.

    Raises:
        LabError: one cannot be started, ends, or does not become ready in time; says which and why.
    """
    if any(node.services for node in lab.plan.nodes):
        from lab.services import start  # noqa: PLC0415 - see above

        start.start(lab, on_step)
