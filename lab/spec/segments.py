"""What follows from a Topology alone: the subnets of its networks, their hosts, and who shares what.

Needed to check a file and to plan a lab. Subnets are given as `Subnets`: by network, those of the file or
the assigned one, IPv4 first; nothing for a network when every subnet to assign is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from itertools import islice
from typing import TYPE_CHECKING

from lab.spec.values import Address, Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.spec.models import NodeSpec, Topology

Subnets = Mapping[str, tuple[Network, ...]]

IPV4, IPV6 = FAMILIES = (4, 6)

_POOL = IPv4Network("10.0.0.0/16")


def all_subnets(topology: Topology) -> Subnets:
    """Return every network's subnets; a network that names none gets the first free 10.0.N.0/24, N from 1."""
    taken = {third for spec in topology.networks.values() for one in spec.subnet for third in _thirds(one)}
    free = (IPv4Network((int(_POOL.network_address) + (n << 8), 24)) for n in range(1, 256) if n not in taken)
    return {
        name: tuple(sorted(spec.subnet or islice(free, 1), key=lambda subnet: subnet.version))
        for name, spec in topology.networks.items()
    }


def subnet_of(subnets: Subnets, network: str, version: int) -> Network | None:
    """Return the network's subnet of IP `version`, if it has one."""
    return next((one for one in subnets.get(network, ()) if one.version == version), None)


def host_range(subnet: Network) -> range:
    """Return the addresses, as numbers, that a host may have in a subnet.

    Left out are IPv4's network and broadcast addresses, but for a /31 (RFC 3021), and IPv6's subnet-router
    anycast address (RFC 4291, section 2.6.1), but for a /127 (RFC 6164).
    """
    first, last = int(subnet.network_address), int(subnet.broadcast_address)
    if subnet.prefixlen >= subnet.max_prefixlen - 1:
        return range(first, last + 1)
    return range(first + 1, last if subnet.version == IPV4 else last + 1)


def explicit_addresses(topology: Topology) -> Iterator[tuple[str, str, int, Address]]:
    """Yield (node, network, index, address) for each address the file gives to an interface."""
    for node, spec in topology.nodes.items():
        for network, interface in spec.networks.items():
            for index, address in enumerate(interface.address):
                yield node, network, index, address


def named_addresses(topology: Topology) -> set[Address]:
    """Return every address the file mentions; none of them is assigned to a node by itself."""
    found = {address for _, _, _, address in explicit_addresses(topology)}
    for spec in topology.nodes.values():
        mentioned = (spec.gateway, spec.resolver, *(route.via for route in spec.routes))
        found.update(one for one in mentioned if one is not None and not isinstance(one, str))
    return found


def shared_network(subnets: Subnets, node: NodeSpec, other: NodeSpec, version: int) -> str | None:
    """Return the first network of `node` that `other` is on as well and that speaks IP `version`."""
    return next((name for name in node.networks if name in other.networks and subnet_of(subnets, name, version)), None)


def network_holding(subnets: Subnets, node: NodeSpec, address: Address) -> str | None:
    """Return the network of `node` in whose subnet `address` is."""
    return next((name for name in node.networks if any(address in one for one in subnets.get(name, ()))), None)


def _thirds(subnet: Network) -> range:
    """Return the N of each 10.0.N.0/24 that `subnet` overlaps."""
    if subnet.version != _POOL.version:
        return range(0)
    first = max(int(subnet.network_address), int(_POOL.network_address))
    last = min(int(subnet.broadcast_address), int(_POOL.broadcast_address))
    return range(first >> 8 & 0xFF, (last >> 8 & 0xFF) + 1) if first <= last else range(0)
