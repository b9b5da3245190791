"""Topology to Plan: every address, MAC address, name and route, in the same way every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.plan.addressing import interfaces
from lab.plan.model import LOCALHOST, Plan, PlannedNetwork, PlannedNode, PlannedService
from lab.plan.routing import Wiring, routes
from lab.plan.timeline import timeline
from lab.spec.needs import meant_by
from lab.spec.segments import FAMILIES, IPV4, IPV6, all_subnets, shared_network, subnet_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.plan.model import PlannedInterface, PlannedRoute
    from lab.spec.models import Topology


def plan(topology: Topology) -> Plan:
    """Plan a lab. `topology` is one that `lab.load` has checked: references hold and subnets have room."""
    subnets = all_subnets(topology)
    planned = interfaces(topology, subnets)
    wiring = Wiring(topology, subnets, planned, _routers(topology))
    found, notes = routes(wiring)
    return Plan(
        name=topology.name,
        networks=tuple(
            PlannedNetwork(name, f"br{index}", tuple(str(one) for one in subnets[name]), spec.mtu)
            for index, (name, spec) in enumerate(topology.networks.items())
        ),
        nodes=tuple(_node(wiring, node, found[node]) for node in topology.nodes),
        domain=topology.domain,
        hosts_file=_hosts_file(topology, planned),
        notes=notes,
        seed=topology.seed,
        timeline=timeline(topology, planned),
    )


def _routers(topology: Topology) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {name: [] for name in topology.networks}
    for node, spec in topology.nodes.items():
        if spec.kind == "router":
            for network in spec.networks:
                found[network].append(node)
    return {name: tuple(nodes) for name, nodes in found.items()}


def _node(wiring: Wiring, node: str, found: tuple[PlannedRoute, ...]) -> PlannedNode:
    spec = wiring.topology.nodes[node]
    return PlannedNode(
        name=node,
        kind=spec.kind,
        interfaces=tuple(wiring.interfaces[node].values()),
        routes=found,
        sysctls=tuple(spec.sysctls.items()),
        environment=tuple(spec.environment.items()),
        ipv6=any(subnet_of(wiring.subnets, network, IPV6) for network in spec.networks),
        resolv_conf=_resolv_conf(wiring, node),
        services=_services(wiring.topology, node),
        image=spec.image,
    )


def _services(topology: Topology, node: str) -> tuple[PlannedService, ...]:
    return tuple(
        PlannedService(
            name=name,
            kind=spec.kind or name,
            needs=tuple(dict.fromkeys(one for need in spec.needs for one in meant_by(topology, need))),
            options=spec.options,
        )
        for name, spec in topology.nodes[node].services.items()
    )


def _resolv_conf(wiring: Wiring, node: str) -> str:
    resolver = wiring.topology.nodes[node].resolver
    if resolver is None:
        return "# no resolver is set\n"
    address = _reachable(wiring, node, resolver) if isinstance(resolver, str) else resolver
    return f"nameserver {address}\nsearch {wiring.topology.domain}\n"


def _reachable(wiring: Wiring, node: str, other: str) -> str:
    """Return the other node's first address this one can speak to, on a shared network if there is one."""
    spec, other_spec = wiring.topology.nodes[node], wiring.topology.nodes[other]
    versions = [one for one in FAMILIES if any(subnet_of(wiring.subnets, name, one) for name in spec.networks)]
    shared = [shared_network(wiring.subnets, spec, other_spec, version) for version in versions]
    networks = [*(name for name in shared if name), *other_spec.networks]
    return next(
        address.partition("/")[0]
        for name in networks
        for address in wiring.interfaces[other][name].addresses
        if (IPV6 if ":" in address else IPV4) in versions
    )


def _hosts_file(topology: Topology, planned: Mapping[str, Mapping[str, PlannedInterface]]) -> str:
    lines = (
        f"{address.partition('/')[0]} {' '.join((node, *spec.names))}\n"
        for node, spec in topology.nodes.items()
        for interface in planned[node].values()
        for address in interface.addresses
    )
    return LOCALHOST + "".join(lines)
