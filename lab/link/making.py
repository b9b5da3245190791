"""Makes the wires of a lab: their devices, in the node's namespace and in the switch's."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from lab.errors import NotSupportedError
from lab.link import device
from lab.link.device import Ends
from lab.netlink import namespaces, rtnetlink
from lab.netlink.namespaces import Clone
from lab.plan.model import PlannedInterface

ETHERNET_HEADER = 14
_VLAN_TAG = 4
# Frames that may wait for the relay: a burst of a sender is not to be lost before it gets there.
_TAP_QUEUE = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a wire goes.

    Attributes:
        node_namespace: descriptor of the node's network namespace.
        own_namespace: that of the switch, in which the calling thread is.
        bridge_index: of the network's bridge there.
        network_mtu: bytes.
    """

    node_namespace: int
    own_namespace: int
    bridge_index: int
    network_mtu: int


def make_wire(switch: socket.socket, interface: PlannedInterface, place: Place) -> Ends:
    """Make an interface of a node, down, and its port on the switch, up, with nothing between them yet.

    TAP devices where this user may have them; packet sockets behind two veth pairs otherwise.

    Args:
        switch: an rtnetlink socket of the switch's namespace.

    Raises:
        NotSupportedError: this user may have neither.
        OSError: the kernel refuses for another reason.
    """
    largest = max(interface.mtu, place.network_mtu) + ETHERNET_HEADER + _VLAN_TAG
    with namespaces.entered(place.node_namespace, Clone.NET, place.own_namespace):
        node = device.tap(interface.name)
        if node is not None:
            _configure_nodes_tap(interface)
    if node is None:
        return _on_packet_sockets(switch, interface, place, largest)
    port = device.tap(interface.port)
    if port is None:
        os.close(node)
        msg = f"interface {interface.name} ({interface.port}): a TAP device for the node, but none for the switch"
        raise NotSupportedError(msg)
    index = socket.if_nametoindex(interface.port)
    request = rtnetlink.change(
        index,
        interface.port,
        mtu=place.network_mtu,
        queue=_TAP_QUEUE,
        bridge_index=place.bridge_index,
        is_up=True,
    )
    rtnetlink.transact(switch, [request])
    return Ends(node, port, largest)


def _configure_nodes_tap(interface: PlannedInterface) -> None:
    with rtnetlink.open_socket() as channel:
        index = socket.if_nametoindex(interface.name)
        request = rtnetlink.change(index, interface.name, mac=interface.mac, mtu=interface.mtu, queue=_TAP_QUEUE)
        rtnetlink.transact(channel, [request])


def _on_packet_sockets(switch: socket.socket, interface: PlannedInterface, place: Place, largest: int) -> Ends:
    """Two veth pairs: node's eth0 ── pNn, and pNx ── pN on the switch; the frames of pNn and pNx are ours."""
    nodes_end, ours = f"{interface.port}n", f"{interface.port}x"
    towards_node = rtnetlink.veth(
        port=nodes_end,
        bridge_index=0,
        peer=interface.name,
        peer_namespace=place.node_namespace,
        mac=interface.mac,
        mtu=interface.mtu,
        port_mtu=max(interface.mtu, place.network_mtu),
    )
    towards_switch = rtnetlink.veth(
        port=interface.port,
        bridge_index=place.bridge_index,
        peer=ours,
        peer_namespace=place.own_namespace,
        mac=f"02:07{interface.mac[5:]}",
        mtu=place.network_mtu,
        port_mtu=place.network_mtu,
    )
    rtnetlink.transact(switch, [towards_node, towards_switch])
    rtnetlink.transact(switch, [rtnetlink.up(socket.if_nametoindex(ours), ours)])
    try:
        return Ends(device.packet_socket(nodes_end), device.packet_socket(ours), largest)
    except PermissionError as error:
        msg = (
            f"interface {interface.name} ({interface.port}): a programmable wire needs /dev/net/tun or packet "
            "sockets, and this user may have neither; `lab doctor` says what would allow it"
        )
        raise NotSupportedError(msg) from error
