"""What must hold of the services that wait for others: these exist, and nobody waits in a ring."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from lab.load.problem import Problem
from lab.spec.needs import all_services, meant_by
from lab.spec.quoting import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.spec.models import Topology


def problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong, in no particular order."""
    for (node, name), spec in all_services(topology):
        for index, need in enumerate(spec.needs):
            if not meant_by(topology, need):
                yield _unknown(topology, need, ("nodes", node, "services", name, "needs", index))
    yield from _rings(topology)


def _unknown(topology: Topology, need: str, path: tuple[str | int, ...]) -> Problem:
    node, _, service = need.partition("/")
    if node not in topology.nodes:
        return Problem(path, f'unknown node "{node}"', unknown=node, known=topology.nodes)
    own = topology.nodes[node].services
    if not own:
        return Problem(path, f'node "{node}" has no services to wait for')
    text = f'node "{node}" has no service "{service}"'
    return Problem(path, text, unknown=service, known=own)


def _rings(topology: Topology) -> Iterator[Problem]:
    """Yield a problem for the first ring."""
    needs = {
        key: [meant for need in spec.needs for meant in meant_by(topology, need)]
        for key, spec in all_services(topology)
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        ring = error.args[1][1:]
        node, service = ring[0]
        names = listed(["/".join(key) for key in ring])
        text = f"services wait for each other: {names}" if ring[1:] else f"{names} waits for itself"
        yield Problem(("nodes", node, "services", service, "needs"), f"{text}; take one of the needs out")
