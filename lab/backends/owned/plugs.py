"""The plug of a node's interface: what takes its carrier away and gives it back.

The calling thread is in the switches' namespace. A link's end towards the node is its port, or what an impaired
link has in front of it; a TAP device has no other end, and its carrier is taken at the device itself.
"""

from __future__ import annotations

import socket

from lab.backends.owned import links
from lab.backends.owned.built import Built
from lab.faults.places import Place
from lab.netlink import namespaces, rtnetlink
from lab.netlink.namespaces import Clone
from lab.wait import wait_until

_READY_SECONDS = 10.0


def set_carrier(built: Built, place: Place, port: str, *, there: bool) -> None:
    """Take an interface's carrier away, or give it back.

    Raises:
        OSError: the kernel refuses.
    """
    node, interface = place
    end = _end(port)
    if place in built.links.wires and end == port:
        with namespaces.entered(built.nodes[node].net, Clone.NET, built.home.net), rtnetlink.open_socket() as channel:
            index = socket.if_nametoindex(interface)
            rtnetlink.transact(channel, [rtnetlink.carrier(index, interface, there=there)])
        return
    change = rtnetlink.up if there else rtnetlink.down
    with rtnetlink.open_socket() as channel:
        rtnetlink.transact(channel, [change(socket.if_nametoindex(end), end)])


def await_carrier(built: Built, place: Place, port: str, *, there: bool) -> None:
    """Return once an interface has noticed, and if it has its carrier, frames pass; at once if it is down anyway.

    Raises:
        WaitTimeoutError: that never happens.
    """
    node, interface = place
    with rtnetlink.open_socket() as switch:
        with namespaces.entered(built.nodes[node].net, Clone.NET, built.home.net):
            if not links.is_up(interface):
                return
            inside, index = rtnetlink.open_socket(), socket.if_nametoindex(interface)
        with inside:
            ends = {socket.if_nametoindex(name) for name in (port, _end(port))} if there else set()
            wait_until(
                lambda: rtnetlink.are_running(inside, {index}) == there and rtnetlink.are_running(switch, ends),
                timeout=_READY_SECONDS,
                what=f"{node}:{interface} to {'carry packets again' if there else 'lose its carrier'}",
            )


def _end(port: str) -> str:
    """Return the name of what is behind the node's interface."""
    in_front = f"{port}n"
    return in_front if any(name == in_front for _index, name in socket.if_nameindex()) else port
