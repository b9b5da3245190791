"""The links of a lab: veth pairs, and for those that are impaired what the kernel or a relay adds to them."""

from __future__ import annotations

import fcntl
import socket
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lab.errors import NotSupportedError
from lab.link import making, qdisc, shaper
from lab.link.device import Ends
from lab.link.making import Place
from lab.link.mechanism import Mechanism, kernels, mechanism
from lab.link.qdisc import Kind
from lab.netlink import namespaces, rtnetlink
from lab.netlink.namespaces import Clone
from lab.plan.model import Plan, PlannedInterface, PlannedNode
from lab.wait import wait_until

if TYPE_CHECKING:
    from lab.backends.owned.built import Namespaces

MOST_WIRES = 100  # one message carries 253 descriptors, and each wire has two
_AT_ONCE = 25  # links; the switches' part in making nodes is done in batches
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
        nodes: those that are there.
        own: the network namespace of the switches, a descriptor; the calling thread is in it.
        channel: an rtnetlink socket there.
    """

    plan: Plan
    nodes: Mapping[str, Namespaces]
    own: int
    channel: socket.socket

    def place(self, node: str, interface: PlannedInterface) -> Place:
        """Return where a link goes."""
        network = next(one for one in self.plan.networks if one.name == interface.network)
        return Place(self.nodes[node].net, self.own, socket.if_nametoindex(network.bridge), network.mtu)


class Making:
    """Makes every interface of a plan, down, and impairs those that are to be, while its nodes are made."""

    def __init__(self, switches: Switches) -> None:
        """Choose how each link is to be made.

        Raises:
            NotSupportedError: neither the kernel nor this user can do what a link is asked for.
        """
        self._switches = switches
        self._chosen = _choose(switches)
        self._waiting: list[rtnetlink.Request] = []
        self._places: dict[str, Place] = {}
        self._wires: dict[tuple[str, str], Ends] = {}

    def link(self, node: PlannedNode) -> None:
        """Link a node that is there now.

        Raises:
            NotSupportedError: this user may have no wire.
            OSError: the kernel refuses.
        """
        for interface in node.interfaces:
            if interface.network not in self._places:
                self._places[interface.network] = self._switches.place(node.name, interface)
            namespace = self._switches.nodes[node.name].net
            place = replace(self._places[interface.network], node_namespace=namespace)
            if self._chosen[interface.port] == "wire":
                self._wires[node.name, interface.name] = making.make_wire(self._switches.channel, interface, place)
            else:
                self._waiting.append(_veth(interface, place))
        if len(self._waiting) >= _AT_ONCE:
            self._make_waiting()

    def finish(self) -> Links:
        """Make what is left to be made when all nodes are there.

        Raises:
            OSError: the kernel refuses.
        """
        self._make_waiting()
        small = set()
        for node in self._switches.plan.nodes:
            for interface in node.interfaces:
                how = self._chosen[interface.port]
                if how in ("netem", "tbf"):
                    small.add(_insert(self._switches, node.name, interface))
                    _shape(self._switches, node.name, interface, netem=how == "netem")
        return Links(frozenset(small), self._wires)

    def _make_waiting(self) -> None:
        rtnetlink.transact(self._switches.channel, self._waiting)
        self._waiting.clear()


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


def _choose(switches: Switches) -> dict[str, Mechanism]:
    """Return how each port's link is made; the kernel is tried only if there is something to decide.

    What the timeline will do to a link later is a reason for a wire too: a link cannot become one.
    """
    links = [(node.name, interface) for node in switches.plan.nodes for interface in node.interfaces]
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
    with namespaces.entered(switches.nodes[node].net, Clone.NET, switches.own):
        if not is_up(interface.name):
            return
    new = [f"{interface.port}n", f"{interface.port}x", interface.port]
    wait_until(
        lambda: all(_flags(name) & _RUNNING for name in new),
        timeout=_READY_SECONDS,
        what=f"{node}:{interface.name} to carry packets",
    )


def is_up(name: str) -> bool:
    """Whether an interface of the calling thread's network namespace is meant to be up, with a carrier or not."""
    return bool(_flags(name) & _UP)


def _flags(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
    return int(struct.unpack_from("H", answer, 16)[0])
