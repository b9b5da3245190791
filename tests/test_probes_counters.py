"""The kernel's counters."""

from __future__ import annotations

import pytest

from lab.probes.counters import parsed
from lab.running import Lab


def test_counters_have_the_names_that_nstat_gives_them() -> None:
    text = "Ip: Forwarding InReceives\nIp: 1 20\nTcpExt: TW\nTcpExt: -3\n"
    assert parsed(text) == {"IpForwarding": 1, "IpInReceives": 20, "TcpExtTW": -3}


@pytest.mark.topology("two-hosts.yaml")
def test_a_node_counts_its_own(lab: Lab) -> None:
    before = {node.name: node.counters()["IcmpOutEchos"] for node in lab}
    assert lab["left"].ping(lab["right"].address(), count=3).received == 3
    assert {node.name: node.counters()["IcmpOutEchos"] - before[node.name] for node in lab} == {"left": 3, "right": 0}
