"""Promise 4: every knob is pinned, whatever the host has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.backends.owned import baseline
from tests.users import PROJECT, User

# What a node still has from its host, and why that is so.
NOT_PINNED = {
    r"net/ipv4/tcp_congestion_control": "a namespace may choose only what its host allows; routes carry it otherwise",
    r"net/ipv6/conf/\w+/mtu": "follows the interface's own MTU, which the plan sets",
    r"net/ipv4/conf/lo/disable_(policy|xfrm)": "the kernel's own decision for every namespace's loopback",
}
NOT_PINNED_WITHOUT_IPV6 = {r"net/ipv6/.*": "IPv6 is off in a node that has no IPv6 address"}
# A kernel's settings for an interface that are no setting but its state, or need a hardware that veth is not.
NO_SETTINGS = {"mc_forwarding", "mtu", "stable_secret"}


def nodes_of(user: User) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = user.report("troubles", "settings")["found"]
    return found


def pinned(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from baseline.node_settings(node["kind"], ipv6=node["ipv6"])
    for interface in node["interfaces"]:
        yield from baseline.interface_settings(interface)
        for key, value in baseline.node_settings(node["kind"], ipv6=node["ipv6"]):
            if ".conf.default." in key:
                yield key.replace(".default.", f".{interface}."), value


def test_a_node_has_the_same_settings_on_this_host_and_on_an_odd_one(user: User) -> None:
    found = nodes_of(user)
    here = [node for node in found if node["host"] == "this-host"]
    there = [node for node in found if node["host"] == "odd-host"]
    assert len(here) == len(there) == 7
    for one, other in zip(here, there, strict=True):
        excused = "|".join([*NOT_PINNED, *([] if one["ipv6"] else NOT_PINNED_WITHOUT_IPV6)])
        assert one["sysctls"].keys() == other["sysctls"].keys()
        differing = [
            f"{one['node']}: {path}: {value!r} here, {other['sysctls'][path]!r} there"
            for path, value in one["sysctls"].items()
            if value != other["sysctls"][path] and not re.fullmatch(f"/proc/sys/({excused})", path)
        ]
        assert differing == []
        for key, value in pinned(one):
            path = "/proc/sys/" + key.replace(".", "/")
            if path in one["sysctls"]:
                assert one["sysctls"][path].split() == value.split(), f"{one['node']}: {key}"


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_every_setting_that_interfaces_take_from_their_host_is_in_the_baseline(family: str) -> None:
    folder = Path("/proc/sys/net", family, "conf", "default")
    if not folder.is_dir():
        pytest.skip(f"this kernel has no {family}")
    keys = {key for key, _value in baseline.node_settings("host", ipv6=True)}
    present = {path.name for path in folder.iterdir()} - NO_SETTINGS
    assert {name for name in present if f"net.{family}.conf.default.{name}" not in keys} == set()


def test_connections_use_cubic_whatever_the_host_uses(user: User) -> None:
    name = user.up(str(PROJECT / "topologies" / "chain.yaml"))
    for node in ("client", "server"):
        own = user.lab("exec", "--lab", name, node, "--", "cat", "/proc/sys/net/ipv4/tcp_congestion_control").stdout
        routes = json.loads(user.lab("exec", "--lab", name, node, "--", "ip", "-json", "route").stdout)
        carried = [
            "cubic" if own.strip() == "cubic" else metric.get("congestion")
            for route in routes
            for metric in route.get("metrics", [{}])
        ]
        assert carried == ["cubic"] * len(routes)
        assert len(routes) >= 2
    user.lab("down", name)
