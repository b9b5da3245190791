"""The file from which ours builds what the others build by program; and the addresses that those on Docker give."""

from __future__ import annotations

from ipaddress import IPv4Network

_SUBNET = IPv4Network("10.0.0.0/16")


def one_switch(name: str, nodes: int) -> str:
    """Return the YAML of a lab with one network and so many nodes.

    The last node is the router that gives the others their default route.
    """
    hosts = "".join(f"  h{number}: {{networks: {{lan: {{}}}}}}\n" for number in range(1, nodes))
    router = f"  h{nodes}: {{kind: router, networks: {{lan: {{}}}}}}\n"
    return f"name: {name}\nnetworks:\n  lan: {{subnet: {_SUBNET}}}\nnodes:\n{hosts}{router}"


def subnet() -> str:
    """Return the network's prefix."""
    return str(_SUBNET)


def gateway() -> str:
    """Return an address for Docker's own end of the network, which no node has."""
    return str(_SUBNET.broadcast_address - 1)


def address(number: int) -> str:
    """Return the address of a node, counted from 1."""
    return str(_SUBNET.network_address + number)
