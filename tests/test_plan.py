from __future__ import annotations

import json
import time
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import TopologyError
from lab.load import load, loads
from lab.plan.model import Plan
from lab.plan.planner import plan
from lab.plan.text import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.plan.model import PlannedNode
    from lab.spec import Topology

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden" / "plans"
SOURCES = [*sorted(GOLDEN.glob("*.yaml")), *sorted((ROOT / "topologies").glob("*.yaml"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_topology_gives_its_plan(path: Path, golden: Callable[[Path, str], None]) -> None:
    planned = plan(load(path))
    golden(GOLDEN / f"{path.stem}.json", json.dumps(planned.to_data(), indent=2) + "\n")
    golden(GOLDEN / f"{path.stem}.txt", render(planned))


def test_every_plan_belongs_to_a_topology() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {path.stem for path in SOURCES}
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {path.stem for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_plan_survives_json(path: Path) -> None:
    planned = plan(load(path))
    assert Plan.from_data(json.loads(json.dumps(planned.to_data()))) == planned


def test_an_ipv6_next_hop_is_the_routers_link_local_address() -> None:
    planned = plan(load(ROOT / "topologies" / "redirect6.yaml"))
    nodes = {node.name: node for node in planned.nodes}
    mac = bytes.fromhex(nodes["current"].interfaces[0].mac.replace(":", ""))
    identifier = bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]
    via = IPv6Address(nodes["host"].routes[0].via)
    assert via.is_link_local
    assert via.packed[8:] == identifier


def test_text_of_a_plan_cannot_disturb_a_terminal() -> None:
    assert "\x1b" not in render(plan(load(GOLDEN / "settings.yaml")))


def test_planning_a_thousand_nodes_costs_no_more_each_than_planning_a_hundred() -> None:
    small, large = _crowd(100), _crowd(1000)
    assert _cost(large) / 1000 < 3 * _cost(small) / 100


def test_a_chain_of_a_hundred_routers_reaches_its_far_end() -> None:
    links = "".join(f"  l{n}: {{subnet: 10.1.{n}.0/24}}\n" for n in range(101))
    routers = "".join(f"  r{n}: {{kind: router, networks: {{l{n}: , l{n + 1}: }}}}\n" for n in range(100))
    planned = plan(loads(f"name: chain\nnetworks:\n{links}nodes:\n{routers}"))
    assert all(len(node.routes) == 99 for node in planned.nodes)
    assert _walk(planned, "r0", "10.1.100.0/24") == [f"r{n}" for n in range(100)]


@st.composite
def topologies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a topology that may be wrong in its addresses only."""
    subnets: list[Any] = [None]
    for n in range(draw(st.integers(1, 5))):
        length = draw(st.integers(24, 31))
        both = [f"10.1.{n}.0/{length}", f"fd00:{n + 1:x}::/{draw(st.sampled_from([64, 112, 126]))}"]
        subnets.append({"subnet": draw(st.sampled_from([both, both[:1], both[1:]]))})
    networks = {f"n{index}": subnet for index, subnet in enumerate(subnets)}
    interface = st.none() | st.builds(_interface, st.sampled_from(sorted(networks)), st.integers(0, 6), st.booleans())
    nodes = {}
    for n in range(draw(st.integers(1, 8))):
        names = draw(st.lists(st.sampled_from(sorted(networks)), unique=True, max_size=4))
        kind = draw(st.sampled_from(["host", "router"]))
        nodes[f"x{n}"] = {"kind": kind, "networks": {name: draw(interface) for name in names}}
    return {"name": "drawn", "networks": networks, "nodes": nodes}


def _interface(network: str, host: int, mac: bool) -> dict[str, Any]:  # noqa: FBT001  # drawn
    index = int(network[1:]) - 1
    found: dict[str, Any] = {"address": f"10.1.{index}.{host}"} if index >= 0 else {}
    return {**found, "mac": f"02:00:0a:01:00:0{host}"} if mac else found


def _loaded(data: dict[str, Any]) -> Topology | None:
    """Return the topology, its explicit addresses dropped where they are wrong."""
    try:
        return loads(yaml.safe_dump(data, sort_keys=False))
    except TopologyError:
        return None


@settings(deadline=None, max_examples=300)
@given(topologies())
def test_every_planned_address_is_unique_and_in_its_subnet(data: dict[str, Any]) -> None:
    topology = _loaded(data) or _loaded(_without_addresses(data))
    if topology is None:
        return  # a subnet too small for its nodes
    planned = plan(topology)
    assert plan(topology) == planned
    assert Plan.from_data(json.loads(json.dumps(planned.to_data()))) == planned
    subnets = {network.name: [ip_network(one) for one in network.subnets] for network in planned.networks}
    ports = [interface for node in planned.nodes for interface in node.interfaces]
    addresses = [ip_interface(one) for port in ports for one in port.addresses]
    assert len({one.ip for one in addresses}) == len(addresses)
    assert len({port.port for port in ports}) == len(ports)
    for port in ports:
        assert [ip_interface(one).network for one in port.addresses] == subnets[port.network]
        assert int(port.mac[:2], 16) & 3 == 2
    for name in subnets:
        macs = [port.mac for port in ports if port.network == name]
        assert len(set(macs)) == len(macs)
    _check_routes(planned)


def _check_routes(planned: Plan) -> None:
    """Every next hop is on the wire of its interface, and no node has two routes to one prefix."""
    for node in planned.nodes:
        by_name = {interface.name: interface for interface in node.interfaces}
        assert len({route.to for route in node.routes}) == len(node.routes)
        for route in node.routes:
            own = [ip_interface(one).network for one in by_name[route.interface].addresses]
            hop = ip_address(route.via)
            assert hop.is_link_local or any(hop in subnet for subnet in own)
            assert hop.version == ip_network(route.to).version


def _without_addresses(data: dict[str, Any]) -> dict[str, Any]:
    nodes = {name: {**node, "networks": dict.fromkeys(node["networks"])} for name, node in data["nodes"].items()}
    return {**data, "nodes": nodes}


def _crowd(size: int) -> Topology:
    nodes = "".join(f"  h{n}: {{networks: {{lan: }}}}\n" for n in range(size))
    return loads(f"name: crowd\nnetworks: {{lan: {{subnet: [10.1.0.0/16, 'fd00::/64']}}}}\nnodes:\n{nodes}")


def _cost(topology: Topology) -> float:
    """Return the least of several measurements, in seconds of processor time."""
    costs = []
    for _ in range(5):
        begin = time.process_time()
        plan(topology)
        costs.append(time.process_time() - begin)
    return min(costs)


def _walk(planned: Plan, start: str, to: str) -> list[str]:
    """Follow the routes towards a prefix and return the nodes passed."""
    owners = {ip_interface(one).ip: node for node in planned.nodes for i in node.interfaces for one in i.addresses}
    passed: list[PlannedNode] = [next(node for node in planned.nodes if node.name == start)]
    while hops := [route.via for route in passed[-1].routes if route.to == to]:
        passed.append(owners[ip_address(hops[0])])
    return [node.name for node in passed]
