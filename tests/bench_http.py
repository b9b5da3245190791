"""What the benchmarks over HTTP share: nginx with two files, a load, and two servers side by side."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from typing import Any

from lab.node import Node
from lab.running import Lab

ROOT = "/run/www"
# A connection each costs the client more than the server, and servers that wait for their client look equally fast:
# so there are two clients.
LOADS = [
    ("keep-alive, 1 KB", ("--path", "/small", "--connections", "50")),
    ("a connection each, 1 KB", ("--path", "/small", "--connections", "100", "--workers", "2", "--close")),
    ("5 MB", ("--path", "/large", "--connections", "4")),
]

_SECONDS = "0.5"
_CONFIGURATION = """
user root;
daemon off;
error_log stderr;
pid /run/www/nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    server {
        listen 80;
        root /run/www;
    }
}
"""


def write_files(lab: Lab, node: str) -> None:
    """Give a node the two files that are asked for."""
    lab.backend.write(node, {f"{ROOT}/small": "x" * 1024})
    lab[node].run("truncate", "--size=5000000", f"{ROOT}/large").check()


def run_nginx(lab: Lab, node: str) -> None:
    """Serve the files on port 80, by one worker and without a log."""
    write_files(lab, node)
    lab.backend.write(node, {f"{ROOT}/nginx.conf": _CONFIGURATION})
    nginx = lab[node].start("nginx", "-c", f"{ROOT}/nginx.conf", "-p", ROOT, "-e", "stderr")
    lab[node].wait_listening(80, nginx)


def load(client: Node, address: str, port: int, *options: str) -> dict[str, Any]:
    """Return what the load generator tells of half a second; it met no errors."""
    where = ("--host", address, "--port", str(port), "--duration", _SECONDS)
    said = client.run(client.lab.program("load_generator"), *where, *options).check().stdout
    found: dict[str, Any] = json.loads(said)
    assert not any(found["errors"].values()), found["errors"]
    return found


def side_by_side(rate: Callable[[int], float], ours: int, theirs: int, rounds: int) -> tuple[float, float, float]:
    """Return the two rates in the middle, ours first, and the ratio in the middle of those of each round.

    Args:
        rate: measures what listens on a port.
    """
    pairs = [(rate(ours), rate(theirs)) for _ in range(rounds)]
    of_ours, of_theirs = map(statistics.median, zip(*pairs, strict=True))
    return of_ours, of_theirs, statistics.median(one / other for one, other in pairs)
