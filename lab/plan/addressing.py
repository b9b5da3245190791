"""Addresses, MAC addresses and names of every interface."""

from __future__ import annotations

from ipaddress import IPv6Address
from itertools import chain, count
from typing import TYPE_CHECKING

from lab.plan.impairments import impairments
from lab.plan.model import PlannedInterface
from lab.spec.segments import IPV4, host_range, named_addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.spec.models import InterfaceSpec, Topology
    from lab.spec.segments import Subnets
    from lab.spec.values import Address, Network

# Locally administered; the second byte keeps the two kinds apart.
_FROM_IPV4 = 0x0200 << 32
_FROM_INDEX = 0x0206 << 32


def interfaces(topology: Topology, subnets: Subnets) -> dict[str, dict[str, PlannedInterface]]:
    """Return each node's interfaces by network.

    Addresses of the file stand; the others are the lowest free ones, in file order. `topology` is one that
    `lab.load` has checked: every network exists and has room.
    """
    named = named_addresses(topology)
    free = {subnet: _free(subnet, named) for found in subnets.values() for subnet in found}
    macs = _explicit_macs(topology)
    indexes = {network: index for index, network in enumerate(topology.networks)}
    ports = count()
    planned: dict[str, dict[str, PlannedInterface]] = {}
    for node, spec in topology.nodes.items():
        planned[node] = {}
        for network, interface in spec.networks.items():
            addresses = [(_address(interface, one, free[one]), one.prefixlen) for one in subnets[network]]
            mac = interface.mac or _mac(addresses[0][0], indexes[network], macs[network])
            mtu = interface.mtu or topology.networks[network].mtu
            out, incoming = impairments(interface, mtu)
            planned[node][network] = PlannedInterface(
                name=f"eth{len(planned[node])}",
                network=network,
                port=f"p{next(ports)}",
                mac=mac,
                mtu=mtu,
                addresses=tuple(f"{address}/{length}" for address, length in addresses),
                offload=interface.offload,
                out=out,
                incoming=incoming,
                wire=interface.wire,
            )
    return planned


def link_local(mac: str) -> str:
    """Return the IPv6 link-local address an interface makes of its MAC address (RFC 4291, appendix A)."""
    head, tail = mac.replace(":", "")[:6], mac.replace(":", "")[6:]
    identifier = int(f"{head}fffe{tail}", 16) ^ (0x02 << 56)  # the universal/local bit is inverted
    return str(IPv6Address((0xFE80 << 112) | identifier))


def _free(subnet: Network, named: set[Address]) -> Iterator[Address]:
    """Yield the addresses of a subnet that no file entry names, lowest first."""
    kind = type(subnet.network_address)
    return (address for number in host_range(subnet) if (address := kind(number)) not in named)


def _address(interface: InterfaceSpec, subnet: Network, free: Iterator[Address]) -> Address:
    explicit = next((one for one in interface.address if one.version == subnet.version), None)
    return next(free) if explicit is None else explicit


def _explicit_macs(topology: Topology) -> dict[str, set[str]]:
    macs: dict[str, set[str]] = {network: set() for network in topology.networks}
    for spec in topology.nodes.values():
        for network, interface in spec.networks.items():
            if interface.mac is not None:
                macs[network].add(interface.mac)
    return macs


def _mac(address: Address, index: int, taken: set[str]) -> str:
    """Return a MAC address that tells the IPv4 address, where there is one; it is added to `taken`."""
    host = int(address)
    candidates = (_written(_FROM_INDEX | (index & 0xFF) << 24 | (host + step) & 0xFFFFFF) for step in count())
    first = [_written(_FROM_IPV4 | host)] if address.version == IPV4 else []
    mac = next(one for one in chain(first, candidates) if one not in taken)
    taken.add(mac)
    return mac


def _written(number: int) -> str:
    return number.to_bytes(6, "big").hex(":")
