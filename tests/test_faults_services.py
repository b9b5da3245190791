"""Services of a node that loses its power and gets it back."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.services.service import crashed
from lab.wait import wait_until
from tests.faulty_labs import planned

SERVER = (
    "import socket; server = socket.create_server(('', int('{port}')))\\nwhile True: server.accept()[0].send(b'hello')"
)


def service(name: str, port: int) -> str:
    program = SERVER.replace("{port}", str(port))
    return f'{name}: {{kind: command, run: [{sys.executable}, "-c", "{program}"], listens: [{port}]}}'


TEXT = f"""
name: served
networks: {{lan: }}
nodes:
  client: {{networks: {{lan: }}}}
  web:
    networks: {{lan: }}
    services:
      {service("one", 8001)}
      {service("two", 8002)}
timeline:
  - {{at: 0s, kill: web}}
  - {{at: 1ms, start: web}}
"""


@pytest.fixture
def lab(labs: Labs) -> Iterator[Lab]:
    with Lab.up(planned(TEXT), labs.backend, shared=[Path.cwd()]) as made:
        yield made


def greeting(lab: Lab, port: int) -> bytes:
    with lab["client"].socket(socket.AF_INET, socket.SOCK_STREAM) as channel:
        channel.settimeout(5)
        channel.connect((lab["web"].address(), port))
        return channel.recv(100)


def test_services_are_ready_again_when_their_node_is(lab: Lab) -> None:
    before = {status.name: status.pid for status in lab.backend.services()}
    lab["web"].kill()
    assert [status.exit_code for status in lab.backend.services()] == [-signal.SIGKILL] * 2
    assert crashed(lab.backend) == []

    lab["web"].boot()

    assert [greeting(lab, port) for port in (8001, 8002)] == [b"hello"] * 2
    after = {status.name: status.pid for status in lab.backend.services()}
    assert all(after[name] != pid for name, pid in before.items())
    assert [status.stopped for status in lab.backend.services()] == [False, False]


def test_a_service_that_was_stopped_before_stays_so(lab: Lab) -> None:
    web = lab["web"]
    web.services["two"].stop()
    web.kill()
    web.boot()
    assert greeting(lab, 8001) == b"hello"
    with pytest.raises(ConnectionRefusedError):
        greeting(lab, 8002)


def test_the_timeline_starts_services_too(lab: Lab) -> None:
    lab.start_timeline()
    wait_until(lambda: lab.faults().pending == 0, timeout=10, what="the timeline's end")

    def answers() -> bool:
        try:
            return greeting(lab, 8001) == b"hello"
        except ConnectionRefusedError:
            return False

    wait_until(answers, timeout=10, what="the service")
