"""What must hold between the impairments of a link. Pure over the Topology."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.load.problem import Problem
from lab.spec.directions import directions, faults, is_impaired

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.load.tree import Path
    from lab.spec.models import InterfaceSpec, Topology


def problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong, in no particular order."""
    for node, spec in topology.nodes.items():
        for network, interface in spec.networks.items():
            yield from _interface(("nodes", node, "networks", network), interface)


def _interface(path: Path, spec: InterfaceSpec) -> Iterator[Problem]:
    found = directions(spec)
    if spec.offload and (spec.wire or any(is_impaired(one) for one in found.values())):
        text = "a link that is impaired or a wire carries frames as a real one does; leave offload out"
        yield Problem((*path, "offload"), text)
    told: set[Path] = set()
    for direction, one in found.items():
        for key, text in faults(one):
            # What is said of both directions is wrong in both, and one line tells it.
            place = (*path, direction, key) if _is_own(spec, direction, key) else (*path, key)
            if place not in told:
                told.add(place)
                yield Problem(place, text)


def _is_own(spec: InterfaceSpec, direction: str, key: str) -> bool:
    own = spec.out if direction == "out" else spec.incoming
    return own is not None and getattr(own, key) is not None
