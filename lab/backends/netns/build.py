"""Builds the namespaces, wires, addresses and routes of a lab, step by step, in the calling process.

Nothing here is undone by hand: every namespace hangs on a descriptor of this process, so whenever it ends,
at whatever step, the kernel takes all of it down at once.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.backends.netns import baseline, clock, files, links
from lab.backends.netns.links import Links
from lab.errors import BackendError, UsageError
from lab.netlink import namespaces, offload, rtnetlink, sysctl
from lab.netlink.namespaces import Clone
from lab.plan.model import Plan, PlannedNode
from lab.wait import wait_until

_OWN = Clone.NET | Clone.MOUNT | Clone.UTS | Clone.IPC
_LINKS_READY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The namespaces of one node, or of the lab itself (its network namespace holds the switches): descriptors."""

    net: int
    mount: int
    uts: int
    ipc: int

    def enter(self) -> None:
        """Move the calling thread into all four."""
        namespaces.enter(self.net, Clone.NET)
        namespaces.enter(self.uts, Clone.UTS)
        namespaces.enter(self.ipc, Clone.IPC)
        namespaces.enter(self.mount, Clone.MOUNT)


@dataclass(frozen=True, slots=True)
class Built:
    """What stands after a build."""

    home: Namespaces
    nodes: dict[str, Namespaces]
    links: Links

    def node(self, name: str) -> Namespaces:
        """Return the namespaces of a node.

        Raises:
            UsageError: there is none of that name; names those that there are.
        """
        try:
            return self.nodes[name]
        except KeyError:
            msg = f'no node named "{name}"; this lab has {", ".join(self.nodes)}'
            raise UsageError(msg) from None


def build(plan: Plan, staging: Path, shared: tuple[str, ...], on_step: Callable[[str], None]) -> Built:
    """Build the plan and return its namespaces; the calling process is left in the lab's home namespaces.

    Args:
        staging: a folder to mount the lab's own tmpfs on, in the lab's mount namespace alone.
        shared: see `files.prepare_node`.
        on_step: called with the name of each step before it is taken.

    Raises:
        BackendError: a step failed; the message says which, and the kernel's reason.
    """
    on_step("home")
    with _step("the lab's own namespaces"):
        namespaces.unshare(_OWN)
        files.prepare_home(str(staging))
        baseline.pin([("net.ipv6.conf.default.disable_ipv6", "1"), ("net.ipv4.ip_forward", "0")])
        with namespaces.own_folder() as own:
            home = _current(own)
    nodes = _make_nodes(plan, home, staging, shared, on_step)
    with rtnetlink.open_socket() as switch:
        bridges, made = _wire(plan, home, nodes, switch, on_step)
        _configure(plan, home, nodes, made, on_step)
        on_step("links ready")
        with _step("networks"):
            rtnetlink.transact(switch, [rtnetlink.up(index, name) for name, index in bridges.items()])
            # A bridge may take a second to be called running; it forwards as soon as its ports do.
            wait_until(
                lambda: rtnetlink.all_running(switch, but=made.small_bridges | set(bridges.values())),
                timeout=_LINKS_READY_SECONDS,
                what="every interface to carry packets",
            )
    for name in list(nodes)[:1]:  # any will do: it is the whole machine's packets that are stamped
        with _step(f"node {name}"), namespaces.entered(nodes[name].net, Clone.NET, home.net):
            clock.await_ticking()
    return Built(home, nodes, made)


def _make_nodes(
    plan: Plan, home: Namespaces, staging: Path, shared: tuple[str, ...], on_step: Callable[[str], None]
) -> dict[str, Namespaces]:
    settings: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    nodes = {}
    with namespaces.own_folder() as own:
        for node in plan.nodes:
            on_step(f"node {node.name}")
            with _step(f"node {node.name}"):
                namespaces.unshare(_OWN)
                socket.sethostname(node.name)
                files.prepare_node(f"{staging}/{node.name}", _texts(plan, node), shared)
                sort = (node.kind, node.ipv6)
                if sort not in settings:
                    settings[sort] = baseline.pin(baseline.node_settings(node.kind, ipv6=node.ipv6))
                else:
                    _write_all(settings[sort])
                nodes[node.name] = _current(own)
                home.enter()
    return nodes


def _texts(plan: Plan, node: PlannedNode) -> dict[str, str]:
    """Return the node's own files of /etc."""
    texts = {
        "/etc/hosts": plan.hosts_file,
        "/etc/resolv.conf": node.resolv_conf,
        "/etc/hostname": f"{node.name}\n",
    }
    if files.exists("/etc/nsswitch.conf"):
        texts["/etc/nsswitch.conf"] = files.name_service()
    if node.services:
        texts["/etc/passwd"] = files.users()
    return texts


def _wire(
    plan: Plan,
    home: Namespaces,
    nodes: dict[str, Namespaces],
    switch: socket.socket,
    on_step: Callable[[str], None],
) -> tuple[dict[str, int], Links]:
    """Make bridges and links; return the bridges' indexes by name, too."""
    on_step("networks")
    with _step("networks"):
        rtnetlink.transact(switch, [rtnetlink.bridge(network.bridge, network.mtu) for network in plan.networks])
    indexes = {network.bridge: socket.if_nametoindex(network.bridge) for network in plan.networks}
    on_step("interfaces")
    with _step("interfaces"):
        namespaces_of_nodes = {name: node.net for name, node in nodes.items()}
        return indexes, links.make(links.Switches(plan, namespaces_of_nodes, home.net, switch))


def _configure(
    plan: Plan, home: Namespaces, nodes: dict[str, Namespaces], made: Links, on_step: Callable[[str], None]
) -> None:
    offloads_off: dict[bool, Any] = {}  # a wire's devices have another driver, and so other offloads
    neighbour_settings: list[tuple[str, str]] | None = None
    for node in plan.nodes:
        on_step(f"configure {node.name}")
        with _step(f"node {node.name}"), _inside(nodes[node.name], home):
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
                    _write_all([(key.replace("*", interface.name), value) for key, value in neighbour_settings])
            _write_all([(key, value) for key, value in node.sysctls if key != baseline.CONGESTION_CONTROL_KEY])
            bring_up(node)


def bring_up(node: PlannedNode) -> None:
    """Bring the interfaces of the calling thread's namespaces up, with the node's addresses and routes."""
    _address_and_route(node, _pin_congestion_control(node))


def _pin_congestion_control(node: PlannedNode) -> str:
    """Set the node's congestion control, and return what its routes must carry instead.

    A namespace may choose only what its host allows, and some hosts do not allow cubic; a route may name any.
    """
    wanted = dict(node.sysctls).get(baseline.CONGESTION_CONTROL_KEY, baseline.CONGESTION_CONTROL)
    if sysctl.read(baseline.CONGESTION_CONTROL_KEY) == wanted:
        return ""
    try:
        sysctl.write(baseline.CONGESTION_CONTROL_KEY, wanted)
    except PermissionError:
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


def _write_all(settings: list[tuple[str, str]]) -> None:
    for key, value in settings:
        baseline.write(key, value)


def _current(folder: int) -> Namespaces:
    return Namespaces(*(namespaces.current(kind, folder) for kind in (Clone.NET, Clone.MOUNT, Clone.UTS, Clone.IPC)))


@contextmanager
def _inside(node: Namespaces, home: Namespaces) -> Iterator[None]:
    """Be, for the block, where a node's network is configured: among its interfaces, with its own /proc/sys."""
    with namespaces.entered(node.net, Clone.NET, home.net), namespaces.entered(node.mount, Clone.MOUNT, home.mount):
        yield


@contextmanager
def _step(name: str) -> Iterator[None]:
    """Say which step it was that the kernel refused."""
    try:
        yield
    except OSError as error:
        msg = f"{name}: {error.strerror or error}"
        raise BackendError(msg) from error
    except BackendError as error:
        msg = f"{name}: {error}"
        raise BackendError(msg) from error
