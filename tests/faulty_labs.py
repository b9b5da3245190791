"""A lab to break, and how to see from outside what is broken."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.backends.base import Backend
from lab.load import loads
from lab.node import Node
from lab.plan.model import Plan
from lab.plan.planner import plan
from lab.running import Lab

# a, b and c on lan, b and c on dmz as well.
THREE = """
name: three
networks:
  lan: {subnet: [10.0.1.0/24, "fd00:1::/64"]}
  dmz: {subnet: 10.0.2.0/24}
nodes:
  a: {networks: {lan: }}
  b: {networks: {lan: , dmz: }}
  c: {networks: {lan: , dmz: }}
"""
WIRED = THREE.replace("a: {networks: {lan: }}", "a: {networks: {lan: {wire: true}}}")
ANSWERED_WITHIN, LOST_AFTER = 5.0, 0.2  # seconds


def planned(text: str) -> Plan:
    """Plan a topology under a name that no other lab has."""
    made = plan(loads(text))
    return replace(made, name=f"{made.name}-{uuid.uuid4().hex[:8]}")


@contextmanager
def up(text: str, backend: Backend | None = None) -> Iterator[Lab]:
    """Bring a lab up in which every node has spoken with every other, so that nobody needs to ask for addresses."""
    with Lab.up(planned(text), backend, shared=[Path.cwd()]) as lab:
        for one in lab:
            for other in lab:
                if one is not other:
                    assert one.ping(other.address("lan"), timeout=ANSWERED_WITHIN).received == 1
        yield lab


def reaches(one: Node, other: Node, network: str = "lan", *, version: int = 4) -> bool:
    """Whether a ping there comes back; who has asked for an address in vain asks again only after a second."""
    return one.ping(other.address(network, version=version), timeout=ANSWERED_WITHIN).received == 1


def in_vain(one: Node, other: Node, network: str = "lan", *, version: int = 4) -> bool:
    """Whether a ping there does not come back, though it has had the time to."""
    return one.ping(other.address(network, version=version), timeout=LOST_AFTER).received == 0


def flags(node: Node, interface: str = "eth0") -> set[str]:
    (found,) = json.loads(node.run("ip", "-json", "link", "show", interface).check().stdout)
    return set(found["flags"])


def configuration(node: Node) -> Any:
    """Addresses and routes, without what differs from one look to the next."""
    addresses = json.loads(node.run("ip", "-json", "address").check().stdout)
    kept = [
        [(one["local"], one["prefixlen"], one["scope"]) for one in interface["addr_info"]] for interface in addresses
    ]
    routes = [json.loads(node.run("ip", "-json", version, "route").check().stdout) for version in ("-4", "-6")]
    return kept, routes


def marks(lab: Lab) -> list[str]:
    return [mark.text for mark in lab.faults().marks]


def mend(lab: Lab) -> None:
    """Undo whatever a test has done to the lab."""
    lab.restore()
    for node in lab.faults().off:
        lab[node].boot()
