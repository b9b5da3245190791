"""The links of a lab: veth pairs, and for those that are impaired what the kernel or a relay adds to them."""

from __future__ import annotations

import fcntl
import socket
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lab.errors import NotSupportedError
from lab.link import making, qdisc, shaper
from lab.link.device import Ends
from lab.link.making import Place
from lab.link.mechanism import Mechanism, kernels, mechanism
from lab.link.qdisc import Kind
from lab.netlink import namespaces, rtnetlink
from lab.netlink.namespaces import Clone
from lab.plan.model import Plan, PlannedInterface
from lab.wait import wait_until

MOST_WIRES = 100  # one message carries 253 descriptors, and each wire has two
_SIOCGIFFLAGS, _UP, _RUNNING = 0x8913, 0x1, 0x40
_READY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Links:
    """What stands between the nodes.

    Attributes:
        small_bridges: indexes of the bridges of links that the kernel impairs.
        wires: the ends of programmable wires, by node and interface.
    """

    small_bridges: frozenset[int]
    wires: dict[tuple[str, str], Ends]


@dataclass(frozen=True, slots=True)
class Switches:
    """Where links meet.

    Attributes:
        nodes: each node's network namespace, a descriptor.
        own: that of the switches; the calling thread is in it.
        channel: an rtnetlink socket there.
    """

    plan: Plan
    nodes: Mapping[str, int]
    own: int
    channel: socket.socket

    def place(self, node: str, interface: PlannedInterface) -> Place:
        """Return where a link goes."""
        network = next(one for one in self.plan.networks if one.name == interface.network)
        return Place(self.nodes[node], self.own, socket.if_nametoindex(network.bridge), network.mtu)


def make(switches: Switches) -> Links:
    """Make every interface of the plan, down, and impair those that are to be.

    Raises:
        NotSupportedError: neither the kernel nor this user can do what a link is asked for.
        OSError: the kernel refuses.
    """
    links = [(node.name, interface) for node in switches.plan.nodes for interface in node.interfaces]
    chosen = _choose(switches, links)
    plain, small, wires = [], set(), {}
    places = {interface.network: switches.place(node, interface) for node, interface in links}
    for node, interface in links:
        place = replace(places[interface.network], node_namespace=switches.nodes[node])
        if chosen[interface.port] == "wire":
            wires[node, interface.name] = making.make_wire(switches.channel, interface, place)
        else:
            plain.append(_veth(interface, place))
    rtnetlink.transact(switches.channel, plain)
    for node, interface in links:
        if chosen[interface.port] in ("netem", "tbf"):
            small.add(_insert(switches, node, interface))
            _shape(switches, node, interface, netem=chosen[interface.port] == "netem")
    return Links(frozenset(small), wires)


def impair(switches: Switches, node: str, interface: PlannedInterface) -> None:
    """Make a link that is no wire do what its `out` and `incoming` say, while the lab runs.

    A link that the kernel has not impaired before is interrupted for some milliseconds.

    Raises:
        NotSupportedError: this kernel cannot.
        OSError: it refuses.
    """
    how = kernels(interface.out, interface.incoming, qdisc.known(switches.channel))
    if how is None:
        msg = (
            f"{node}:{interface.name} cannot be impaired so: this kernel has no netem, and the link is no "
            'programmable wire; write "wire: true" at the interface in the topology file'
        )
        raise NotSupportedError(msg)
    if not shaper.is_inserted(interface.port):
        if how == "none":
            return
        _insert(switches, node, interface)
        _await_carrier(switches, node, interface)
    _shape(switches, node, interface, netem=how == "netem")


def _choose(switches: Switches, links: list[tuple[str, PlannedInterface]]) -> dict[str, Mechanism]:
    """Return how each port's link is made; the kernel is tried only if there is something to decide.

    What the timeline will do to a link later is a reason for a wire too: a link cannot become one.
    """
    stages = {one.port: [one, *_stages_to_come(switches.plan, node, one)] for node, one in links}
    kinds: frozenset[Kind] = frozenset()
    if any(stage.out or stage.incoming for its in stages.values() for stage in its):
        kinds = qdisc.known(switches.channel)
    ways = {port: [mechanism(stage, kinds) for stage in its] for port, its in stages.items()}
    chosen: dict[str, Mechanism] = {port: "wire" if "wire" in its else its[0] for port, its in ways.items()}
    count = sum(how == "wire" for how in chosen.values())
    if count > MOST_WIRES:
        msg = f"{count} programmable wires, but one relay carries the frames of {MOST_WIRES} at the most"
        raise NotSupportedError(msg)
    return chosen


def _stages_to_come(plan: Plan, node: str, interface: PlannedInterface) -> list[PlannedInterface]:
    """Return the interface as it will be after each event of the timeline that impairs it."""
    target = (f"{node}:{interface.name}",)
    return [
        replace(interface, out=event.out, incoming=event.incoming)
        for event in plan.timeline
        if event.fault.action == "impair" and event.fault.targets == target
    ]


def _veth(interface: PlannedInterface, place: Place) -> rtnetlink.Request:
    return rtnetlink.veth(
        port=interface.port,
        bridge_index=place.bridge_index,
        peer=interface.name,
        peer_namespace=place.node_namespace,
        mac=interface.mac,
        mtu=interface.mtu,
        port_mtu=place.network_mtu,
    )


def _insert(switches: Switches, node: str, interface: PlannedInterface) -> int:
    place = switches.place(node, interface)
    return shaper.insert(switches.channel, interface.port, place.bridge_index, place.network_mtu, switches.own)


def _shape(switches: Switches, node: str, interface: PlannedInterface, *, netem: bool) -> None:
    shaper.shape(
        switches.channel,
        interface.port,
        interface.out,
        interface.incoming,
        largest=interface.mtu + making.ETHERNET_HEADER,
        seed=zlib.crc32(f"{switches.plan.seed} {node} {interface.name}".encode()),
        netem=netem,
    )


def _await_carrier(switches: Switches, node: str, interface: PlannedInterface) -> None:
    """Return when frames pass again; at once where the node's interface is down anyway."""
    with namespaces.entered(switches.nodes[node], Clone.NET, switches.own):
        if not _flags(interface.name) & _UP:
            return
    new = [f"{interface.port}n", f"{interface.port}x", interface.port]
    wait_until(
        lambda: all(_flags(name) & _RUNNING for name in new),
        timeout=_READY_SECONDS,
        what=f"{node}:{interface.name} to carry packets",
    )


def _flags(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
    return int(struct.unpack_from("H", answer, 16)[0])
