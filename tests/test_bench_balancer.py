"""The balancer beside haproxy (TCP mode, one thread each): same lab, same backends, same client, in turns.

What counts is the ratio of two loads that follow each other, and of many such pairs the one in the middle.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Any

import pytest

from lab.running import Lab
from tests.service_labs import BringUp, bring_up

__all__ = ["bring_up"]

pytestmark = pytest.mark.bench

ROUNDS = 11
SECONDS = "0.5"
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
NGINX = """
user root;
daemon off;
error_log stderr;
pid /run/www/nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000;
    server {
        listen 80;
        root /run/www;
    }
}
"""


@pytest.fixture
def both(bring_up: BringUp) -> Lab:
    """A lab in which both balancers run before the same three servers."""
    lab = bring_up(TEXT)
    for name in SERVERS:
        lab.backend.write(name, {"/run/www/nginx.conf": NGINX, "/run/www/small": "x" * 1024})
        lab[name].run("truncate", "--size=5000000", "/run/www/large").check()
        server = lab[name].start("nginx", "-c", "/run/www/nginx.conf", "-p", "/run/www", "-e", "stderr")
        lab[name].wait_listening(80, server)
    backends = "".join(f"backend {lab[name].address()}:80\n" for name in SERVERS)
    lab.backend.write("balancer", {"/run/balancer.conf": backends})
    lab["balancer"].deploy("balancer", "--config", "/run/balancer.conf", port=OURS)
    return lab


def load(lab: Lab, port: int, *options: str) -> dict[str, Any]:
    address = lab["balancer"].address("front")
    where = ("--host", address, "--port", str(port), "--duration", SECONDS)
    said = lab["client"].run(lab.program("load_generator"), *where, *options).check().stdout
    found: dict[str, Any] = json.loads(said)
    assert not any(found["errors"].values()), found["errors"]
    return found


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("keep-alive, 1 KB", ("--path", "/small", "--connections", "50")),
        ("a connection each, 1 KB", ("--path", "/small", "--connections", "50", "--close")),
        ("5 MB", ("--path", "/large", "--connections", "4")),
    ],
)
def test_the_balancer_is_as_fast_as_haproxy(
    both: Lab, capsys: pytest.CaptureFixture[str], what: str, options: tuple[str, ...]
) -> None:
    pairs = [tuple(load(both, port, *options)["requests_per_second"] for port in (OURS, THEIRS)) for _ in range(ROUNDS)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = map(statistics.median, zip(*pairs, strict=True))
    with capsys.disabled():
        sys.stdout.write(f"\n{what}: {ours:.0f}/s, haproxy {theirs:.0f}/s: {ratio:.2f} times as many\n")
    assert ratio >= LEAST
