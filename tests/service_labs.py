"""Labs with services, for tests of them."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.message
import pytest

from lab.load import loads
from lab.node import Node
from lab.plan.planner import plan
from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.services import kinds

PROJECT = Path(__file__).resolve().parent.parent
BringUp = Callable[..., Lab]


@pytest.fixture
def bring_up(labs: Labs) -> Iterator[BringUp]:
    """Brings labs up, under names that no other has, and takes them down behind the test."""
    with ExitStack() as stack:

        def up(text: str, **options: Any) -> Lab:
            made = plan(loads(text, kinds=kinds))
            made = replace(made, name=f"{made.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
            lab = Lab.up(made, labs.backend, source=str(PROJECT / "tests" / "lab.yaml"), shared=[PROJECT], **options)
            return stack.enter_context(lab)

        yield up


def alone(service: str) -> str:
    """A topology with one node and one service."""
    return (
        f"name: alone\nnetworks: {{lan: }}\nnodes:\n  web:\n    networks: {{lan: }}\n    services:\n      {service}\n"
    )


def command(*run: str, name: str = "command", **options: Any) -> str:
    """A service that runs any command."""
    return f"{name}: {json.dumps({'kind': 'command', 'run': run, **options})}"


def ask(node: Node, server: str, name: str, kind: str = "A") -> dns.message.Message:
    """Ask a DNS server one question."""
    with node.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        channel.connect((server, 53))
        channel.send(dns.message.make_query(name, kind).to_wire())
        return dns.message.from_wire(channel.recv(4096))


def converse(node: Node, server: str, port: int, request: bytes = b"") -> bytes:
    """Send a request over a TCP connection of its own, and return all that comes back."""
    with node.socket(socket.AF_INET, socket.SOCK_STREAM) as channel:
        channel.settimeout(5)
        channel.connect((server, port))
        channel.sendall(request)
        channel.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: channel.recv(65536), b""))


def get(node: Node, server: str, target: str = "/", *, port: int = 80, host: str = "x") -> str:
    """Return the answer to an HTTP request."""
    with node.socket(socket.AF_INET, socket.SOCK_STREAM) as channel:
        channel.settimeout(5)
        channel.connect((server, port))
        channel.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: channel.recv(65536), b"")).decode()
