"""The kernel's way of impairing a link: a small bridge beside the switch, with a queueing discipline on each port.

    node's eth0 ── pNn [pNb] pNx ── pN [the network's bridge]
                   in        out

Both stand in the switch's namespace, behind the node's interface as a real link's are: what the node captures is
what it has sent, lost or not. On the interface itself a capture would see frames after the queue.
"""

from __future__ import annotations

import socket

from lab.link import qdisc
from lab.netlink import rtnetlink
from lab.plan.model import Impairment


def insert(switch: socket.socket, port: str, bridge_index: int, mtu: int, own_namespace: int) -> int:
    """Put the small bridge between a port of the switch and the wire to the node; return its index.

    The wire loses its carrier for a moment.

    Args:
        switch: an rtnetlink socket of the switch's namespace, in which the calling thread is.
        mtu: of the network, in bytes.
        own_namespace: descriptor of that namespace.

    Raises:
        OSError: the kernel refuses.
    """
    nodes_end, ours = f"{port}n", f"{port}x"
    index = socket.if_nametoindex(port)
    rtnetlink.transact(
        switch,
        [
            rtnetlink.change(index, port, is_up=False),
            rtnetlink.change(index, port, new_name=nodes_end),
            rtnetlink.bridge(f"{port}b", mtu),
        ],
    )
    small = socket.if_nametoindex(f"{port}b")
    pair = rtnetlink.veth(
        port=port,
        bridge_index=bridge_index,
        peer=ours,
        peer_namespace=own_namespace,
        mac=f"02:07:{index >> 24 & 255:02x}:{index >> 16 & 255:02x}:{index >> 8 & 255:02x}:{index & 255:02x}",
        mtu=mtu,
        port_mtu=mtu,
    )
    rtnetlink.transact(switch, [pair])
    rtnetlink.transact(
        switch,
        [
            rtnetlink.change(index, nodes_end, bridge_index=small, is_up=True),
            rtnetlink.change(socket.if_nametoindex(ours), ours, bridge_index=small, is_up=True),
            rtnetlink.up(small, f"{port}b"),
        ],
    )
    return small


def is_inserted(port: str) -> bool:
    """Whether this port has its small bridge, in the calling thread's namespace."""
    return any(name == f"{port}b" for _index, name in socket.if_nameindex())


def shape(
    switch: socket.socket,
    port: str,
    out: Impairment | None,
    incoming: Impairment | None,
    *,
    largest: int,
    seed: int,
    netem: bool,
) -> None:
    """Set the impairments of both directions, from the next frame on.

    Args:
        largest: bytes of the largest frame.
        seed: see `lab.link.qdisc.put_on`; each direction draws for itself.
        netem: see there.

    Raises:
        OSError: the kernel refuses.
    """
    for number, (name, impairment) in enumerate(((f"{port}x", out), (f"{port}n", incoming))):
        index = socket.if_nametoindex(name)
        if impairment is None:
            qdisc.take_off(switch, index)
        else:
            qdisc.put_on(switch, index, impairment, largest=largest, seed=2 * seed + number, netem=netem)
