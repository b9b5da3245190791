"""Small plans, and labs of the fake backend."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from lab.backends.base import Backend
from lab.backends.fake import FakeBackend, Program
from lab.load import loads
from lab.plan.model import Plan
from lab.plan.planner import plan
from lab.running import Lab

TWO_HOSTS = """
name: two-hosts
networks:
  lan: {subnet: [10.0.1.0/24, "fd00:1::/64"]}
nodes:
  left:
    networks: {lan: }
    sysctls: {net.ipv4.ip_default_ttl: 32}
    environment: {COLOUR: green, SHAPE: round}
  right:
    networks: {lan: }
"""

ROUTED = """
name: routed
networks:
  lan: {subnet: [10.0.1.0/24, "fd00:1::/64"]}
  narrow: {subnet: [10.0.2.0/24, "fd00:2::/64"], mtu: 1400}
nodes:
  client: {networks: {lan: }}
  router: {kind: router, networks: {lan: , narrow: }}
  server: {networks: {narrow: }}
"""


def planned(text: str) -> Plan:
    """Plan a topology under a name that no other lab has."""
    made = plan(loads(text))
    return replace(made, name=f"{made.name}-{uuid.uuid4().hex[:8]}")


def up(text: str, backend: Backend) -> Lab:
    """Bring a lab up that sees the folder in which the tests run, wherever that is."""
    return Lab.up(planned(text), backend, shared=[Path.cwd()])


def fake_lab(
    programs: Mapping[tuple[str, ...], Program] | None = None,
    *,
    text: str = TWO_HOSTS,
    open_socket: Callable[..., object] | None = None,
) -> tuple[Lab, FakeBackend]:
    """Bring a lab up on a fake backend of its own."""
    backend = FakeBackend(programs or {}, open_socket=open_socket)  # type: ignore[arg-type]
    return Lab.up(planned(text), backend), backend
