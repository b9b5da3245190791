"""What must hold between networks, addresses, MAC addresses and names. Pure over the Topology."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from lab.load.problem import Problem
from lab.spec.segments import (
    IPV4,
    IPV6,
    all_subnets,
    explicit_addresses,
    host_range,
    named_addresses,
    subnet_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.spec.models import Topology
    from lab.spec.segments import Subnets
    from lab.spec.values import Address, Network

_LEAST_IPV6_MTU = 1280  # RFC 8200, section 5


def problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong, in no particular order."""
    subnets = all_subnets(topology)
    yield from chain(
        _subnets(topology, subnets),
        _unknown_networks(topology),
        _mtus(topology, subnets),
        _outside(topology, subnets),
        _clashes(topology),
        _capacity(topology, subnets),
        _macs(topology),
        _names(topology),
    )


def _subnets(topology: Topology, subnets: Subnets) -> Iterator[Problem]:
    """Yield overlaps, and networks for which no subnet is left to assign."""
    order = {name: index for index, name in enumerate(topology.networks)}
    named = [(one, name, index) for name, spec in topology.networks.items() for index, one in enumerate(spec.subnet)]
    # Prefixes nest or are apart: in this order a subnet's container, if it has one, is the last that began.
    named.sort(key=lambda entry: (entry[0].version, int(entry[0].network_address), entry[0].prefixlen))
    outer: tuple[Network, str, int] | None = None
    for entry in named:
        if outer is None or outer[0].version != entry[0].version or not outer[0].overlaps(entry[0]):
            outer = entry
            continue
        first, second = sorted((outer, entry), key=lambda one: order[one[1]])
        how = "is the subnet of" if first[0] == second[0] else f"overlaps {first[0]} of"
        yield Problem(
            ("networks", second[1], "subnet", second[2]),
            f'{second[0]} {how} network "{first[1]}" too; every network has a subnet of its own',
        )
    for name, found in subnets.items():
        if not found:
            yield Problem(("networks", name), "no 10.0.N.0/24 is left to assign; write a subnet", at_key=True)


def _unknown_networks(topology: Topology) -> Iterator[Problem]:
    for node, spec in topology.nodes.items():
        for name in spec.networks:
            if name not in topology.networks:
                path = ("nodes", node, "networks", name)
                text = f'unknown network "{name}"'
                yield Problem(path, text, at_key=True, unknown=name, known=topology.networks)


def _mtus(topology: Topology, subnets: Subnets) -> Iterator[Problem]:
    for name, network in topology.networks.items():
        if network.mtu < _LEAST_IPV6_MTU and subnet_of(subnets, name, IPV6):
            text = f"found the number {network.mtu}; the least with IPv6 is {_LEAST_IPV6_MTU}"
            yield Problem(("networks", name, "mtu"), text)
    for node, spec in topology.nodes.items():
        for name, interface in spec.networks.items():
            if name not in topology.networks or interface.mtu is None:
                continue
            path = ("nodes", node, "networks", name, "mtu")
            if interface.mtu > (most := topology.networks[name].mtu):
                text = f'found the number {interface.mtu}; the most is {most}, the mtu of network "{name}"'
                yield Problem(path, text)
            elif interface.mtu < _LEAST_IPV6_MTU and subnet_of(subnets, name, IPV6):
                yield Problem(path, f"found the number {interface.mtu}; the least with IPv6 is {_LEAST_IPV6_MTU}")


def _outside(topology: Topology, subnets: Subnets) -> Iterator[Problem]:
    """Yield addresses that a host of their network cannot have."""
    for node, network, index, address in explicit_addresses(topology):
        if network not in topology.networks:
            continue
        path = ("nodes", node, "networks", network, "address", index)
        subnet = subnet_of(subnets, network, address.version)
        if subnet is None:
            text = f'found {address}; network "{network}" has no IPv{address.version} subnet; add one there'
            yield Problem(path, text)
        elif address not in subnet:
            yield Problem(path, f'{address} is outside {subnet} of network "{network}"; {_range(subnet)}')
        elif int(address) not in host_range(subnet):
            last = address.version == IPV4 and address == subnet.broadcast_address
            what = "broadcast" if last else "network" if address.version == IPV4 else "anycast"
            yield Problem(path, f"{address} is the {what} address of {subnet}; {_range(subnet)}")


def _range(subnet: Network) -> str:
    hosts = host_range(subnet)
    kind = type(subnet.network_address)
    return f"allowed are {kind(hosts[0])} to {kind(hosts[-1])}"


def _clashes(topology: Topology) -> Iterator[Problem]:
    holders: dict[Address, str] = {}
    for node, network, index, address in explicit_addresses(topology):
        holder = holders.setdefault(address, f"nodes.{node}.networks.{network}")
        if holder != f"nodes.{node}.networks.{network}":
            path = ("nodes", node, "networks", network, "address", index)
            yield Problem(path, f"{address} is taken by {holder}; every interface has an address of its own")


def _capacity(topology: Topology, subnets: Subnets) -> Iterator[Problem]:
    """Yield the first node for which a subnet has no address left."""
    named = named_addresses(topology)
    members: dict[str, list[str]] = {}
    for node, spec in topology.nodes.items():
        for network in spec.networks:
            members.setdefault(network, []).append(node)
    for subnet, network in ((one, name) for name, found in subnets.items() for one in found):
        assigned = [
            node
            for node in members.get(network, ())
            if all(one.version != subnet.version for one in topology.nodes[node].networks[network].address)
        ]
        hosts = host_range(subnet)
        size = hosts.stop - hosts.start  # len() ends at sys.maxsize
        if size - len(assigned) >= len(named):
            continue
        free = size - sum(one.version == subnet.version and int(one) in hosts for one in named)
        if len(assigned) > free:
            path = ("nodes", assigned[max(free, 0)], "networks", network)
            yield Problem(
                path,
                f'{subnet} of network "{network}" has no address left; make the subnet larger',
                at_key=True,
            )


def _macs(topology: Topology) -> Iterator[Problem]:
    holders: dict[tuple[str, str], str] = {}
    for node, spec in topology.nodes.items():
        for network, interface in spec.networks.items():
            if interface.mac is None:
                continue
            holder = holders.setdefault((network, interface.mac), node)
            if holder != node:
                text = f'{interface.mac} is the MAC address of node "{holder}" on this network; change one'
                yield Problem(("nodes", node, "networks", network, "mac"), text)


def _names(topology: Topology) -> Iterator[Problem]:
    """Yield extra names that another node has, or that one node has twice."""
    holders = {node: node for node in topology.nodes}
    for node, spec in topology.nodes.items():
        for index, name in enumerate(spec.names):
            if name.lower() in holders:
                text = f'"{name}" is a name of node "{holders[name.lower()]}" already; every name is given once'
                yield Problem(("nodes", node, "names", index), text)
            holders.setdefault(name.lower(), node)
