"""The balancer beside haproxy (TCP mode, one thread each): same lab, same backends, same client, in turns.

What counts is the ratio of two loads that follow each other, and of many such pairs the one in the middle.
"""

from __future__ import annotations

import sys

import pytest

from lab.running import Lab
from tests.bench_http import LOADS, load, run_nginx, side_by_side
from tests.service_labs import BringUp, bring_up

__all__ = ["bring_up"]

pytestmark = pytest.mark.bench

ROUNDS = 11
THEIRS, OURS = 80, 8080
LEAST = 0.9  # what noise takes from two that are equally fast
SERVERS = ("web1", "web2", "web3")

TEXT = """
name: balancers
networks:
  front: {subnet: 10.0.1.0/24}
  back: {subnet: 10.0.2.0/24}
nodes:
  client: {networks: {front: 10.0.1.10}}
  balancer:
    networks: {front: 10.0.1.1, back: 10.0.2.1}
    services:
      haproxy: {mode: tcp, balance: leastconn, backends: [web1:80, web2:80, web3:80]}
  web1: {networks: {back: 10.0.2.11}}
  web2: {networks: {back: 10.0.2.12}}
  web3: {networks: {back: 10.0.2.13}}
"""


@pytest.fixture
def both(bring_up: BringUp) -> Lab:
    """A lab in which both balancers run before the same three servers."""
    lab = bring_up(TEXT)
    for name in SERVERS:
        run_nginx(lab, name)
    backends = "".join(f"backend {lab[name].address()}:80\n" for name in SERVERS)
    lab.backend.write("balancer", {"/run/balancer.conf": backends})
    lab["balancer"].deploy("balancer", "--config", "/run/balancer.conf", port=OURS)
    return lab


@pytest.mark.parametrize(("what", "options"), LOADS)
def test_the_balancer_is_as_fast_as_haproxy(
    both: Lab, capsys: pytest.CaptureFixture[str], what: str, options: tuple[str, ...]
) -> None:
    def rate(port: int) -> float:
        found = load(both["client"], both["balancer"].address("front"), port, *options)
        return float(found["requests_per_second"])

    ours, theirs, ratio = side_by_side(rate, OURS, THEIRS, ROUNDS)
    with capsys.disabled():
        sys.stdout.write(f"\n{what}: {ours:.0f}/s, haproxy {theirs:.0f}/s: {ratio:.2f} times as many\n")
    assert ratio >= LEAST
