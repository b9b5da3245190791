"""The Docker networks of a lab: what `docker network ls` and `docker inspect` tell of its addresses.

Frames do not pass their bridges (see the package), so they have no address on the machine either.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Container, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network

from docker import DockerClient
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from lab.backends.docker import labels
from lab.backends.docker.daemon import doing
from lab.backends.docker.labels import Lab
from lab.errors import BackendError
from lab.plan.model import Plan, PlannedNetwork

# Where a network is numbered that cannot have its own subnet; RFC 2544 keeps it for tests of networks.
_SUBSTITUTES = ip_network("198.18.0.0/15")
_SUBSTITUTE_PREFIX = 22  # has room for as many nodes as a bridge has ports
_ATTEMPTS = 20
_OPTIONS = {"com.docker.network.bridge.inhibit_ipv4": "true"}

Subnet = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Network:
    """A Docker network.

    Attributes:
        is_planned: whether it has the plan's subnets, and so its nodes their addresses.
    """

    id: str
    is_planned: bool


def name_of(lab: str, network: str) -> str:
    """Return what Docker calls a network of a lab."""
    return f"lab-{lab}-{network}"


def create(client: DockerClient, plan: Plan, network: PlannedNetwork, lab: Lab) -> Network:
    """Make a network: with the plan's subnets if Docker can have them.

    It has each subnet once only, so a second lab with the same, which is no trouble to the first, is numbered
    otherwise there; and it wants an address for itself, which a small subnet may not have to spare.

    Raises:
        BackendError: a network that is no lab's has such a subnet, or the name; or the daemon refuses.
    """
    own = {**lab.labels, labels.NETWORK: network.name}
    pools = _planned_pools(plan, network)
    for attempt in range(_ATTEMPTS):
        taken = list(_taken(client))
        clash = _clash(network, taken)
        # If Docker refuses what nobody has, a lab is just getting it or giving it back.
        is_planned = pools is not None and clash is None and attempt == 0
        chosen = pools if pools is not None and is_planned else [_substitute(taken)]
        try:
            return Network(_create(client, name_of(plan.name, network.name), chosen, own), is_planned)
        except APIError as error:
            if "overlap" not in str(error.explanation):
                with doing(f"network {network.name}"):
                    raise
    msg = f"network {network.name}: Docker has no room for it, whatever its subnet; see docker network ls"
    raise BackendError(msg)


def _create(client: DockerClient, name: str, pools: list[IPAMPool], own: dict[str, str]) -> str:
    made = client.api.create_network(
        name,
        driver="bridge",
        options=_OPTIONS,
        ipam=IPAMConfig(pool_configs=pools),
        check_duplicate=True,
        internal=True,
        labels=own,
        enable_ipv6=any(":" in pool["Subnet"] for pool in pools),
    )
    return str(made["Id"])


def _planned_pools(plan: Plan, network: PlannedNetwork) -> list[IPAMPool] | None:
    """Return the plan's subnets, each with an address for Docker; None if Docker cannot have them."""
    used = {
        ip_interface(address).ip
        for node in plan.nodes
        for interface in node.interfaces
        for address in interface.addresses
        if interface.network == network.name
    }
    pools = []
    for subnet in map(ip_network, network.subnets):
        spare = _spare(subnet, used)
        if spare is None:
            return None
        pools.append(IPAMPool(subnet=str(subnet), gateway=spare))
    return pools if any("." in pool["Subnet"] for pool in pools) else None  # a bridge of Docker's needs IPv4


def _spare(subnet: Subnet, used: Container[IPv4Address | IPv6Address]) -> str | None:
    """Return the highest address of a subnet that no node has."""
    kind = type(subnet.network_address)
    between = range(int(subnet.broadcast_address) - 1, int(subnet.network_address), -1)
    return next((str(kind(number)) for number in between if kind(number) not in used), None)


def _taken(client: DockerClient) -> Iterator[tuple[Subnet, str, bool]]:
    """Yield each subnet that Docker has, with its network's name and whether that is a lab's."""
    with doing("listing networks"):
        found = client.api.networks()
    for one in found:
        for pool in one["IPAM"]["Config"] or ():
            yield ip_network(pool["Subnet"], strict=False), one["Name"], labels.lab_of(one["Labels"] or {}) is not None


def _clash(network: PlannedNetwork, taken: list[tuple[Subnet, str, bool]]) -> str | None:
    """Return the name of a lab's network that has one of these subnets already.

    Raises:
        BackendError: one that is no lab's has.
    """
    found = None
    for subnet, (other, name, is_labs) in itertools.product(map(ip_network, network.subnets), taken):
        if subnet.version == other.version and subnet.overlaps(other):
            if not is_labs:
                msg = (
                    f'network "{network.name}": its subnet {subnet} overlaps {other} of the Docker network "{name}"; '
                    "give it another in the topology file, or remove that network"
                )
                raise BackendError(msg)
            found = name
    return found


def _substitute(taken: list[tuple[Subnet, str, bool]]) -> IPAMPool:
    free = [
        subnet
        for subnet in _SUBSTITUTES.subnets(new_prefix=_SUBSTITUTE_PREFIX)
        if not any(subnet.version == other.version and subnet.overlaps(other) for other, _name, _is_labs in taken)
    ]
    if not free:
        msg = f"all of {_SUBSTITUTES} is taken by other networks; take some labs down"
        raise BackendError(msg)
    return IPAMPool(subnet=str(random.choice(free)))  # noqa: S311 - so that two labs seldom want the same one
