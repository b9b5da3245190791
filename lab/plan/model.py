"""The Plan: every address, name and route of a lab, resolved. Frozen plain data, without pydantic.

The process that owns a lab imports this module alone, so it stays light.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Self

Kind = Literal["host", "router"]
Origin = Literal["gateway", "declared", "computed"]


@dataclass(frozen=True, slots=True)
class PlannedNetwork:
    """One Ethernet segment: a bridge in the lab's switch namespace.

    Attributes:
        bridge: the bridge's interface name there.
        subnets: in CIDR notation, at most one of each family, IPv4 first.
        mtu: bytes.
    """

    name: str
    bridge: str
    subnets: tuple[str, ...]
    mtu: int


@dataclass(frozen=True, slots=True)
class PlannedInterface:
    """A node's port on a network.

    Attributes:
        name: inside the node, `eth0` upwards in the file's order.
        port: the name of the veth's other end, in the switch namespace; unique in the lab.
        addresses: with prefix length, IPv4 first ("10.0.1.10/24").
        offload: whether segmentation and checksum offloads stay on (captures then show unreal frames).
    """

    name: str
    network: str
    port: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    offload: bool


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    """One route.

    Attributes:
        to: destination prefix; "0.0.0.0/0" and "::/0" are the default routes.
        via: next hop; link-local for IPv6 next hops, as a router would announce itself.
        interface: the node's interface towards the next hop.
        origin: "gateway" (default route), "declared" (in the file), "computed" (between routers).
    """

    to: str
    via: str
    interface: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A host or router.

    Attributes:
        sysctls: (dotted key, value) in the file's order; they come on top of the backend's baseline.
        environment: (name, value) in the file's order.
        ipv6: whether any of the node's networks has an IPv6 subnet; IPv6 is off otherwise.
        resolv_conf: the text of the node's /etc/resolv.conf.
    """

    name: str
    kind: Kind
    interfaces: tuple[PlannedInterface, ...]
    routes: tuple[PlannedRoute, ...]
    sysctls: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    ipv6: bool
    resolv_conf: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole lab.

    Attributes:
        hosts_file: the text of every node's /etc/hosts.
        notes: what a person should know of the plan (a host left without a default route, say).
    """

    name: str
    networks: tuple[PlannedNetwork, ...]
    nodes: tuple[PlannedNode, ...]
    hosts_file: str
    notes: tuple[str, ...]

    def to_data(self) -> dict[str, Any]:
        """Return the plan as plain dicts and lists, ready for JSON; `from_data` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """Rebuild a plan from what `to_data` gave (JSON's lists for tuples are fine)."""
        return cls(
            name=data["name"],
            networks=tuple(
                PlannedNetwork(**{**network, "subnets": tuple(network["subnets"])}) for network in data["networks"]
            ),
            nodes=tuple(_node(node) for node in data["nodes"]),
            hosts_file=data["hosts_file"],
            notes=tuple(data["notes"]),
        )


def _node(data: dict[str, Any]) -> PlannedNode:
    return PlannedNode(
        name=data["name"],
        kind=data["kind"],
        interfaces=tuple(
            PlannedInterface(**{**interface, "addresses": tuple(interface["addresses"])})
            for interface in data["interfaces"]
        ),
        routes=tuple(PlannedRoute(**route) for route in data["routes"]),
        sysctls=tuple((key, value) for key, value in data["sysctls"]),
        environment=tuple((name, value) for name, value in data["environment"]),
        ipv6=data["ipv6"],
        resolv_conf=data["resolv_conf"],
    )
