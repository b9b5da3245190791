"""What the services of a Topology wait for. Needed to check a file and to plan a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.spec.models import ServiceSpec, Topology

ServiceKey = tuple[str, str]
"""(node, service)"""


def all_services(topology: Topology) -> Iterator[tuple[ServiceKey, ServiceSpec]]:
    """Yield every service of every node, in the file's order."""
    for node, spec in topology.nodes.items():
        for name, service in spec.services.items():
            yield (node, name), service


def meant_by(topology: Topology, need: str) -> tuple[ServiceKey, ...]:
    """Return the services that an entry of `needs` names, all of a node's if it is a node; none if there are none."""
    node, _, service = need.partition("/")
    own = topology.nodes[node].services if node in topology.nodes else {}
    return tuple((node, name) for name in own if service in ("", name))
