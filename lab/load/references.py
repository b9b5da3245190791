"""What must hold of gateways, routes and resolvers, which name other nodes. Pure over the Topology."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.load.problem import Problem
from lab.spec.quoting import listed
from lab.spec.segments import (
    FAMILIES,
    all_subnets,
    explicit_addresses,
    host_range,
    network_holding,
    shared_network,
    subnet_of,
)
from lab.spec.values import NO_GATEWAY, Address

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from lab.load.tree import Path
    from lab.spec.models import NodeSpec, Topology
    from lab.spec.segments import Subnets
    from lab.spec.values import Network


@dataclass(frozen=True, slots=True)
class _View:
    """A topology with what is looked up in it again and again."""

    topology: Topology
    subnets: Subnets
    holders: dict[Address, str]

    def families(self, node: NodeSpec) -> set[int]:
        return {one.version for network in node.networks for one in self.subnets.get(network, ())}

    def unknown_node(self, path: Path, name: str) -> Problem:
        return Problem(path, f'unknown node "{name}"', unknown=name, known=self.topology.nodes)


def problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong, in no particular order."""
    holders = {address: node for node, _, _, address in explicit_addresses(topology)}
    view = _View(topology, all_subnets(topology), holders)
    for node, spec in topology.nodes.items():
        yield from _gateway(view, node, spec)
        yield from _routes(view, node, spec)
        yield from _resolver(view, node, spec)
    yield from _resolver_loops(view)


def _gateway(view: _View, node: str, spec: NodeSpec) -> Iterator[Problem]:
    path = ("nodes", node, "gateway")
    gateway = spec.gateway
    if gateway is None or gateway == NO_GATEWAY:
        return
    problem = _next_hop(view, path, node, gateway, FAMILIES)
    if problem is not None:
        yield problem
    elif isinstance(gateway, str) and view.topology.nodes[gateway].kind != "router":
        yield Problem(path, f'node "{gateway}" is a host and does not forward; name a router')


def _next_hop(view: _View, path: Path, node: str, hop: Address | str, versions: Collection[int]) -> Problem | None:
    """Return what is wrong with `hop` as a next hop of `node` for packets of the IP `versions`."""
    if not isinstance(hop, str):
        fault = _address_fault(view, node, hop, versions)
    elif hop in view.topology.nodes:
        fault = _node_fault(view, node, hop, versions)
    else:
        return view.unknown_node(path, hop)
    return Problem(path, fault) if fault else None


def _node_fault(view: _View, node: str, hop: str, versions: Collection[int]) -> str | None:
    if hop == node:
        return f'node "{node}" cannot be its own next hop; name another node'
    spec, other = view.topology.nodes[node], view.topology.nodes[hop]
    if any(shared_network(view.subnets, spec, other, version) for version in versions):
        return None
    family = "".join(f"IPv{version} " for version in versions if len(versions) == 1)
    return f'node "{hop}" and "{node}" share no {family}network; name a node that is on one'


def _address_fault(view: _View, node: str, hop: Address, versions: Collection[int]) -> str | None:
    if hop.version not in versions:
        return f"{hop} is of another IP version than the destination; write a next hop of the same"
    network = network_holding(view.subnets, view.topology.nodes[node], hop)
    subnet = subnet_of(view.subnets, network, hop.version) if network else None
    if subnet is None:
        return f'{hop} is in no subnet of the networks of "{node}"; a next hop is on a shared network'
    if int(hop) not in host_range(subnet):
        return f"{hop} is no host's address in {subnet}; name a node there"
    if view.holders.get(hop) == node:
        return f'{hop} is the address of "{node}" itself; name another node'
    return None


def _routes(view: _View, node: str, spec: NodeSpec) -> Iterator[Problem]:
    seen: set[Network] = set()
    own = {one for network in spec.networks for one in view.subnets.get(network, ())}
    for index, route in enumerate(spec.routes):
        to, via = (("nodes", node, "routes", index, key) for key in ("to", "via"))
        if isinstance(route.to, str) and route.to not in view.topology.networks:
            text = f'unknown network "{route.to}"'
            yield Problem(to, text, unknown=route.to, known=view.topology.networks)
            continue
        prefixes = view.subnets[route.to] if isinstance(route.to, str) else (route.to,)
        problem = _next_hop(view, via, node, route.via, {prefix.version for prefix in prefixes})
        if problem is not None and prefixes:
            yield problem
        faults = (_prefix_fault(spec, prefix, own, seen) for prefix in prefixes)
        yield from (Problem(to, fault) for fault in faults if fault)
        seen.update(prefixes)


def _prefix_fault(spec: NodeSpec, prefix: Network, own: set[Network], seen: set[Network]) -> str | None:
    if prefix in own:
        return f"{prefix} is a subnet of this node's own networks; it needs no route"
    if prefix in seen:
        return f"{prefix} has a route already; keep one of them"
    gateway = spec.gateway
    same = isinstance(gateway, str) or (gateway is not None and gateway.version == prefix.version)
    if prefix.prefixlen == 0 and gateway != NO_GATEWAY and same:
        return f"{prefix} is the default route, which gateway gives as well; keep one of them"
    return None


def _resolver(view: _View, node: str, spec: NodeSpec) -> Iterator[Problem]:
    path = ("nodes", node, "resolver")
    resolver = spec.resolver
    if resolver is None:
        return
    if isinstance(resolver, str) and resolver not in view.topology.nodes:
        yield view.unknown_node(path, resolver)
        return
    if _named_node(view, resolver) == node:
        yield Problem(path, f'node "{node}" cannot be its own resolver; name another node')
        return
    families = view.families(view.topology.nodes[resolver]) if isinstance(resolver, str) else {resolver.version}
    if not families & view.families(spec):
        yield Problem(path, f'{resolver} and "{node}" have no IP version in common; name one within reach')


def _resolver_loops(view: _View) -> Iterator[Problem]:
    """Yield one problem for each ring of nodes that are each other's resolvers."""
    named = ((node, _named_node(view, spec.resolver)) for node, spec in view.topology.nodes.items())
    follows = {node: other for node, other in named if other is not None}
    walked: dict[str, str] = {}
    for start in follows:
        node = start
        while node in follows and node not in walked:
            walked[node] = start
            node = follows[node]
        if walked.get(node) == start and (ring := _ring(follows, node))[1:]:
            text = f"resolvers go round in a ring: {listed(ring)}; take one of them out"
            yield Problem(("nodes", node, "resolver"), text)


def _ring(follows: Mapping[str, str], start: str) -> list[str]:
    ring = [start]
    while (following := follows[ring[-1]]) != start:
        ring.append(following)
    return ring


def _named_node(view: _View, name: Address | str | None) -> str | None:
    return name if name is None or isinstance(name, str) else view.holders.get(name)
