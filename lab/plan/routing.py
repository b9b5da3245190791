"""Routes: default gateways, those the file declares, and those between routers."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from lab.plan.addressing import link_local
from lab.plan.model import PlannedRoute
from lab.spec.quoting import listed
from lab.spec.segments import (
    FAMILIES,
    IPV4,
    IPV6,
    explicit_addresses,
    network_holding,
    shared_network,
    subnet_of,
)
from lab.spec.values import NO_GATEWAY, Network

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab.plan.model import Origin, PlannedInterface
    from lab.spec.models import NodeSpec, RouteSpec, Topology
    from lab.spec.segments import Subnets
    from lab.spec.values import Address

_DEFAULT: Mapping[int, Network] = {IPV4: IPv4Network("0.0.0.0/0"), IPV6: IPv6Network("::/0")}


@dataclass(frozen=True, slots=True)
class Wiring:
    """A topology with its addresses.

    Attributes:
        interfaces: by node, then by network.
        routers: the routers on each network, in file order.
    """

    topology: Topology
    subnets: Subnets
    interfaces: Mapping[str, Mapping[str, PlannedInterface]]
    routers: Mapping[str, tuple[str, ...]]


def routes(wiring: Wiring) -> tuple[dict[str, tuple[PlannedRoute, ...]], tuple[str, ...]]:
    """Return each node's routes (gateway, declared, computed, in this order), and notes for a person."""
    computed = _computed(wiring)
    holders = {address for _, _, _, address in explicit_addresses(wiring.topology)}
    found: dict[str, tuple[PlannedRoute, ...]] = {}
    notes: list[str] = []
    for node, spec in wiring.topology.nodes.items():
        declared = [route for one in spec.routes for route in _declared(wiring, node, one)]
        taken = {route.to for route in declared}
        defaults, undecided = _defaults(wiring, node, taken)
        found[node] = (*defaults, *declared, *(one for one in computed.get(node, ()) if one.to not in taken))
        notes += undecided
        notes += (f"{node}: no node has the address {hop} of a next hop" for hop in _bare_hops(spec, holders))
    return found, tuple(notes)


def _bare_hops(spec: NodeSpec, holders: set[Address]) -> Iterator[Address]:
    """Yield the next hops that the file gives as an address and that no node has."""
    for hop in dict.fromkeys((spec.gateway, *(route.via for route in spec.routes))):
        if hop is not None and not isinstance(hop, str) and hop not in holders:
            yield hop


def _defaults(wiring: Wiring, node: str, taken: set[str]) -> tuple[list[PlannedRoute], list[str]]:
    """Return the node's default routes, and notes where several routers could be its gateway."""
    spec = wiring.topology.nodes[node]
    found: list[PlannedRoute] = []
    notes: list[str] = []
    for version in FAMILIES:
        gateway = spec.gateway
        if gateway == NO_GATEWAY or str(_DEFAULT[version]) in taken:
            continue
        if gateway is not None and not isinstance(gateway, str) and gateway.version != version:
            gateway = None  # an address says nothing of the other family
        if gateway is None and spec.kind == "host":
            candidates = _candidates(wiring, spec, version)
            gateway = candidates[0] if len(candidates) == 1 else None
            if len(candidates) > 1:
                routers = listed(candidates)
                notes.append(f"{node}: no IPv{version} default route: {routers} are its routers; set gateway:")
        if gateway is not None:
            found += _route(wiring, node, _DEFAULT[version], gateway, "gateway")
    return found, notes


def _candidates(wiring: Wiring, spec: NodeSpec, version: int) -> tuple[str, ...]:
    networks = (name for name in spec.networks if subnet_of(wiring.subnets, name, version))
    return tuple(dict.fromkeys(router for name in networks for router in wiring.routers[name]))


def _declared(wiring: Wiring, node: str, route: RouteSpec) -> Iterator[PlannedRoute]:
    """Yield a route for each prefix of the destination that the next hop can carry."""
    prefixes = wiring.subnets[route.to] if isinstance(route.to, str) else (route.to,)
    for prefix in prefixes:
        if isinstance(route.via, str) or route.via.version == prefix.version:
            yield from _route(wiring, node, prefix, route.via, "declared")


def _route(wiring: Wiring, node: str, to: Network, hop: Address | str, origin: Origin) -> list[PlannedRoute]:
    """Return the route by a node or address; nothing if they share no network of this IP version."""
    spec = wiring.topology.nodes[node]
    if isinstance(hop, str):
        network = shared_network(wiring.subnets, spec, wiring.topology.nodes[hop], to.version)
    else:
        network = network_holding(wiring.subnets, spec, hop)
    if network is None:
        return []
    via = _hop_address(wiring, hop, network, to.version) if isinstance(hop, str) else str(hop)
    return [PlannedRoute(to=str(to), via=via, interface=wiring.interfaces[node][network].name, origin=origin)]


def _hop_address(wiring: Wiring, node: str, network: str, version: int) -> str:
    """Return the node's address as a next hop: link-local for IPv6, as a router advertises itself.

    A host takes an ICMPv6 redirect only from the link-local address of its next hop (RFC 4861, section 8.1).
    """
    interface = wiring.interfaces[node][network]
    return interface.addresses[0].partition("/")[0] if version == IPV4 else link_local(interface.mac)


def _computed(wiring: Wiring) -> dict[str, list[PlannedRoute]]:
    """Return each router's routes to the subnets it is not on, by the fewest hops."""
    order = {node: index for index, node in enumerate(wiring.topology.nodes)}
    found: dict[str, list[PlannedRoute]] = {}
    for name, subnets in wiring.subnets.items():
        for subnet in subnets:
            for node, (hop, network) in _towards(wiring, name, subnet.version, order).items():
                found.setdefault(node, []).append(
                    PlannedRoute(
                        to=str(subnet),
                        via=_hop_address(wiring, hop, network, subnet.version),
                        interface=wiring.interfaces[node][network].name,
                        origin="computed",
                    )
                )
    return found


def _towards(wiring: Wiring, target: str, version: int, order: Mapping[str, int]) -> dict[str, tuple[str, str]]:
    """Search breadth first from the target network outwards, one ring of routers at a time.

    Of next hops equally near, the router that comes first in the file is taken.
    """
    reached = set(wiring.routers[target])
    ring = list(wiring.routers[target])
    crossed = {target}
    hops: dict[str, tuple[str, str]] = {}
    while ring:
        following: list[str] = []
        for hop in ring:
            for network in wiring.topology.nodes[hop].networks:
                if network in crossed or subnet_of(wiring.subnets, network, version) is None:
                    continue
                crossed.add(network)
                new = [router for router in wiring.routers[network] if router not in reached]
                reached.update(new)
                hops.update(dict.fromkeys(new, (hop, network)))
                following += new
        ring = sorted(following, key=order.__getitem__)
    return hops
