"""Puts the nodes of a lab on its networks: switches, links, sysctls, addresses and routes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from lab.backends.owned import baseline, clock, links
from lab.backends.owned.built import Built, Namespaces, step
from lab.backends.owned.links import Links
from lab.netlink import namespaces, offload, rtnetlink, sysctl
from lab.netlink.namespaces import Clone
from lab.plan.model import Plan, PlannedNode
from lab.wait import wait_until

_LINKS_READY_SECONDS = 10.0


def connect(
    plan: Plan,
    home: Namespaces,
    coming: Iterable[tuple[PlannedNode, Namespaces]],
    on_step: Callable[[str], None],
) -> Built:
    """Connect the nodes; the calling thread is in the lab's home namespaces, where the switches come.

    Args:
        coming: gives the nodes; what the kernel has to do for one is done while the next is made.
        on_step: called with the name of each step before it is taken.

    Raises:
        BackendError: a step failed; the message says which, and the kernel's reason.
    """
    with rtnetlink.open_socket() as switch:
        on_step("networks")
        with step("networks"):
            rtnetlink.transact(switch, [rtnetlink.bridge(network.bridge, network.mtu) for network in plan.networks])
            bridges = {network.bridge: socket.if_nametoindex(network.bridge) for network in plan.networks}
        nodes, made = _wire(plan, home, coming, switch)
        _configure(plan, home, nodes, made, on_step)
        on_step("links ready")
        with step("networks"):
            rtnetlink.transact(switch, [rtnetlink.up(index, name) for name, index in bridges.items()])
            # A bridge may take a second to be called running; it forwards as soon as its ports do.
            wait_until(
                lambda: rtnetlink.all_running(switch, but=made.small_bridges | set(bridges.values())),
                timeout=_LINKS_READY_SECONDS,
                what="every interface to carry packets",
            )
    for name in list(nodes)[:1]:  # any will do: it is the whole machine's packets that are stamped
        with step(f"node {name}"), namespaces.entered(nodes[name].net, Clone.NET, home.net):
            clock.await_ticking()
    return Built(home, nodes, made)


def _wire(
    plan: Plan, home: Namespaces, coming: Iterable[tuple[PlannedNode, Namespaces]], switch: socket.socket
) -> tuple[dict[str, Namespaces], Links]:
    """Link the nodes to the switches as they come, and return the nodes by name, too."""
    nodes: dict[str, Namespaces] = {}
    with step("interfaces"):
        making = links.Making(links.Switches(plan, nodes, home.net, switch))
    for node, own in coming:
        nodes[node.name] = own
        with step("interfaces"):
            making.link(node)
    with step("interfaces"):
        return nodes, making.finish()


def _configure(
    plan: Plan, home: Namespaces, nodes: dict[str, Namespaces], made: Links, on_step: Callable[[str], None]
) -> None:
    offloads_off: dict[bool, Any] = {}  # a wire's devices have another driver, and so other offloads
    neighbour_settings: list[tuple[str, str]] | None = None
    refused: set[str] = set()
    for node in plan.nodes:
        on_step(f"configure {node.name}")
        with step(f"node {node.name}"), nodes[node.name].configured(home):
            for interface in node.interfaces:
                if not interface.offload:
                    is_wire = (node.name, interface.name) in made.wires
                    if is_wire not in offloads_off:
                        offloads_off[is_wire] = offload.offloads_off(interface.name)
                    offload.apply(interface.name, offloads_off[is_wire])
                if neighbour_settings is None:
                    written = baseline.pin(baseline.interface_settings(interface.name))
                    neighbour_settings = [(key.replace(f".{interface.name}.", ".*."), value) for key, value in written]
                else:
                    baseline.write_all([(key.replace("*", interface.name), value) for key, value in neighbour_settings])
            baseline.write_all([(key, value) for key, value in node.sysctls if key != baseline.CONGESTION_CONTROL_KEY])
            bring_up(node, refused)


def bring_up(node: PlannedNode, refused: set[str]) -> None:
    """Bring the interfaces of the calling thread's namespace up, with the node's addresses and routes.

    Args:
        refused: congestion controls that no namespace here may choose; those that are found out to be are added.
    """
    _address_and_route(node, _pin_congestion_control(node, refused))


def _pin_congestion_control(node: PlannedNode, refused: set[str]) -> str:
    """Set the node's congestion control, and return what its routes must carry instead.

    A namespace may choose only what its host allows, and some hosts do not allow cubic; a route may name any.
    """
    wanted = dict(node.sysctls).get(baseline.CONGESTION_CONTROL_KEY, baseline.CONGESTION_CONTROL)
    if wanted in refused:
        return wanted
    if sysctl.read(baseline.CONGESTION_CONTROL_KEY) == wanted:
        return ""
    try:
        sysctl.write(baseline.CONGESTION_CONTROL_KEY, wanted)
    except PermissionError:
        refused.add(wanted)
        return wanted
    return ""


def _address_and_route(node: PlannedNode, congestion_control: str) -> None:
    indexes = {interface.name: socket.if_nametoindex(interface.name) for interface in node.interfaces}
    requests = [rtnetlink.up(rtnetlink.LOOPBACK_INDEX, "lo")]
    for interface in node.interfaces:
        index = indexes[interface.name]
        requests.append(rtnetlink.up(index, interface.name))
        for address in interface.addresses:
            requests.append(rtnetlink.address(index, address))
            if congestion_control:
                requests.append(rtnetlink.connected_route(index, address, congestion_control))
    requests += [
        rtnetlink.route(indexes[route.interface], route.to, route.via, congestion_control) for route in node.routes
    ]
    with rtnetlink.open_socket() as channel:
        rtnetlink.transact(channel, requests)
