"""A Plan as text for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lab.spec.quoting import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.plan.model import Plan

Row = Sequence[str]


def render(plan: Plan) -> str:
    """Return the plan as aligned tables; a table without rows is left out."""
    blocks = (
        f"lab {plan.name}: networks {len(plan.networks)}, nodes {len(plan.nodes)}\n",
        _table(("network", "bridge", "mtu", "subnets"), _networks(plan)),
        _table(("node", "kind", "interface", "network", "mtu", "mac", "addresses"), _interfaces(plan)),
        _table(("node", "interface", "direction", "impairment"), _impairments(plan)),
        _table(("node", "to", "via", "interface", "origin"), _routes(plan)),
        _table(("node", "resolver"), _resolvers(plan)),
        _table(("node", "sysctl", "value"), _sysctls(plan)),
        _table(("node", "variable", "value"), _environment(plan)),
        _table(("node", "service", "kind", "needs", "options"), _services(plan)),
        _table(("at", "event"), _timeline(plan)),
        "".join(f"note: {note}\n" for note in plan.notes),
    )
    return "\n".join(block for block in blocks if block)


def _networks(plan: Plan) -> Iterator[Row]:
    for network in plan.networks:
        yield network.name, network.bridge, str(network.mtu), ", ".join(network.subnets)


def _interfaces(plan: Plan) -> Iterator[Row]:
    for node in plan.nodes:
        if not node.interfaces:
            yield node.name, node.kind
        for one in node.interfaces:
            addresses = ", ".join(one.addresses) + (" (offload)" if one.offload else "")
            yield node.name, node.kind, one.name, one.network, str(one.mtu), one.mac, addresses


def _impairments(plan: Plan) -> Iterator[Row]:
    for node in plan.nodes:
        for one in node.interfaces:
            if one.wire:
                yield node.name, one.name, "both", "programmable wire"
            for direction, impairment in (("out", one.out), ("in", one.incoming)):
                if impairment:
                    yield node.name, one.name, direction, str(impairment)


def _routes(plan: Plan) -> Iterator[Row]:
    for node in plan.nodes:
        for route in node.routes:
            yield node.name, route.to, route.via, route.interface, route.origin


def _resolvers(plan: Plan) -> Iterator[Row]:
    for node in plan.nodes:
        if node.resolv_conf.startswith("nameserver "):
            yield node.name, node.resolv_conf.split()[1]


def _sysctls(plan: Plan) -> Iterator[Row]:
    for node in plan.nodes:
        for key, value in node.sysctls:
            yield node.name, key, escape(value, limit=200)


def _environment(plan: Plan) -> Iterator[Row]:
    for node in plan.nodes:
        for name, value in node.environment:
            yield node.name, name, escape(value, limit=200)


def _services(plan: Plan) -> Iterator[Row]:
    for node in plan.nodes:
        for service in node.services:
            needs = ", ".join("/".join(need) for need in service.needs)
            options = escape(json.dumps(service.options), limit=200) if service.options else ""
            yield node.name, service.name, service.kind, needs, options


def _timeline(plan: Plan) -> Iterator[Row]:
    for event in plan.timeline:
        yield f"{event.at_us / 1e6:g}s", str(event.fault)


def _table(head: Row, rows: Iterator[Row]) -> str:
    found = list(rows)
    if not found:
        return ""
    table = [tuple(title.upper() for title in head), *found]
    widths = [max(len(row[column]) for row in table if column < len(row)) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in table)
    return "".join(f"{line.rstrip()}\n" for line in lines)
