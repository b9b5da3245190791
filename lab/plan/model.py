"""The Plan: every address, name and route of a lab, resolved. Frozen plain data, without pydantic.

The process that owns a lab imports this module alone, so it stays light.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from lab.faults.model import Fault

Kind = Literal["host", "router"]
Origin = Literal["gateway", "declared", "computed"]

LOCALHOST = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"  # how every hosts file begins


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
class Impairment:
    """What one direction of a link does to the frames that pass; 0 stands for nothing everywhere.

    Attributes:
        delay_us: microseconds.
        jitter_us: each frame's delay is this much more or less at the most, evenly spread.
        rate_bit: bits a second, of whole Ethernet frames; 0 is as fast as it goes.
        queue_bytes: what may wait for its turn where there is a rate; what comes on top is lost.
        loss: how likely a frame is lost, from 0 to 1; as `duplicate` (it comes twice), `reorder` (it is not
            delayed, and so overtakes others) and `corrupt` (one bit of it is turned over).
    """

    delay_us: int = 0
    jitter_us: int = 0
    rate_bit: int = 0
    queue_bytes: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0

    def __str__(self) -> str:
        quantities = (
            ("delay", self.delay_us, f"{self.delay_us / 1000:g}ms"),
            ("jitter", self.jitter_us, f"{self.jitter_us / 1000:g}ms"),
            ("rate", self.rate_bit, _rate(self.rate_bit)),
            ("queue", self.queue_bytes, f"{self.queue_bytes}B"),
        )
        shares = ("loss", "duplicate", "reorder", "corrupt")
        told = [f"{name} {text}" for name, amount, text in quantities if amount]
        return ", ".join(told + [f"{name} {100 * getattr(self, name):g}%" for name in shares if getattr(self, name)])


@dataclass(frozen=True, slots=True)
class PlannedInterface:
    """A node's port on a network.

    Attributes:
        name: inside the node, `eth0` upwards in the file's order.
        port: the name of the veth's other end, in the switch namespace; unique in the lab.
        addresses: with prefix length, IPv4 first ("10.0.1.10/24").
        offload: whether segmentation and checksum offloads stay on (captures then show unreal frames).
        out: what happens to the frames that the node sends; None for nothing.
        incoming: the same, of those that it is sent.
        wire: whether the file asks for the programmable wire.
    """

    name: str
    network: str
    port: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    offload: bool
    out: Impairment | None = None
    incoming: Impairment | None = None
    wire: bool = False


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
class PlannedService:
    """A server that a node runs.

    Attributes:
        kind: a name in the table of services, or a reference program's.
        needs: (node, service) of those that must be ready before it starts.
        options: what the file says of it, as plain data.
    """

    name: str
    kind: str
    needs: tuple[tuple[str, str], ...]
    options: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A host or router.

    Attributes:
        sysctls: (dotted key, value) in the file's order; they come on top of the backend's baseline.
        environment: (name, value) in the file's order.
        ipv6: whether any of the node's networks has an IPv6 subnet; IPv6 is off otherwise.
        resolv_conf: the text of the node's /etc/resolv.conf.
        image: of its container, where it is one; empty for the project's own.
    """

    name: str
    kind: Kind
    interfaces: tuple[PlannedInterface, ...]
    routes: tuple[PlannedRoute, ...]
    sysctls: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    ipv6: bool
    resolv_conf: str
    services: tuple[PlannedService, ...]
    image: str = ""


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """Something that the timeline does to the lab.

    Attributes:
        at_us: microseconds from the timeline's start.
        out: for `impair`, of the frames that the node sends; None takes away what there was.
        incoming: the same, of those that it is sent.
    """

    at_us: int
    fault: Fault
    out: Impairment | None = None
    incoming: Impairment | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole lab.

    Attributes:
        domain: that of the nodes' names.
        hosts_file: the text of every node's /etc/hosts.
        notes: what a person should know of the plan (a host left without a default route, say).
        seed: what every chance on the lab's wires is drawn from.
        timeline: in the order of time.
    """

    name: str
    networks: tuple[PlannedNetwork, ...]
    nodes: tuple[PlannedNode, ...]
    domain: str
    hosts_file: str
    notes: tuple[str, ...]
    seed: int = 1
    timeline: tuple[PlannedEvent, ...] = ()

    @property
    def wiring(self) -> dict[str, dict[str, str]]:
        """Which network each interface is on, by node and interface."""
        return {node.name: {one.name: one.network for one in node.interfaces} for node in self.nodes}

    def to_json(self) -> str:
        """Return the plan as JSON, on one line."""
        return json.dumps(self, default=_fields)

    def to_data(self) -> dict[str, Any]:
        """Return the plan as JSON's dicts and lists; `from_data` is its inverse."""
        data: dict[str, Any] = json.loads(self.to_json())
        return data

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Self:
        """Rebuild a plan from what `to_data` gave."""
        return cls(
            name=data["name"],
            networks=tuple(
                PlannedNetwork(**{**network, "subnets": tuple(network["subnets"])}) for network in data["networks"]
            ),
            nodes=tuple(_node(node) for node in data["nodes"]),
            domain=data["domain"],
            hosts_file=data["hosts_file"],
            notes=tuple(data["notes"]),
            seed=data["seed"],
            timeline=tuple(_event(event) for event in data["timeline"]),
        )


def _fields(part: Any) -> dict[str, Any]:
    """Return the fields of a part of the plan by name; `dataclasses.asdict` takes five times as long."""
    return {name: getattr(part, name) for name in part.__slots__}


def _node(data: dict[str, Any]) -> PlannedNode:
    return PlannedNode(
        name=data["name"],
        kind=data["kind"],
        interfaces=tuple(_interface(interface) for interface in data["interfaces"]),
        routes=tuple(PlannedRoute(**route) for route in data["routes"]),
        sysctls=tuple((key, value) for key, value in data["sysctls"]),
        environment=tuple((name, value) for name, value in data["environment"]),
        ipv6=data["ipv6"],
        resolv_conf=data["resolv_conf"],
        services=tuple(
            PlannedService(**{**service, "needs": tuple((node, name) for node, name in service["needs"])})
            for service in data["services"]
        ),
        image=data["image"],
    )


def _interface(data: dict[str, Any]) -> PlannedInterface:
    return PlannedInterface(**{**data, **_impairments(data), "addresses": tuple(data["addresses"])})


def _impairments(data: dict[str, Any]) -> dict[str, Impairment | None]:
    return {direction: Impairment(**data[direction]) if data[direction] else None for direction in ("out", "incoming")}


def impairment_text(out: Impairment | None, incoming: Impairment | None) -> str:
    """Return in words what happens on a link."""
    ways = [(name, str(impairment)) for name, impairment in (("out", out), ("in", incoming)) if impairment]
    if out == incoming:
        return ways[0][1] if ways else "no more"
    return "; ".join(f"{name} {text}" for name, text in ways)


def _event(data: dict[str, Any]) -> PlannedEvent:
    return PlannedEvent(data["at_us"], Fault.from_data(data["fault"]), **_impairments(data))


def _rate(bits: int) -> str:
    units = (("gbit", 10**9), ("mbit", 10**6), ("kbit", 1000), ("bit", 1))
    unit, size = next((one for one in units if bits >= one[1]), units[-1])
    return f"{bits / size:g}{unit}"
