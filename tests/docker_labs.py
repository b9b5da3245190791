"""Labs of the Docker backend, and what the daemon says of them: fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from lab.backends.docker.client import DockerBackend
from lab.backends.owned import registry
from lab.errors import NotSupportedError
from lab.plan.model import Plan

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture(scope="module")
def docker_client() -> Iterator[DockerClient]:
    """A client of the daemon; the test is skipped where labs of containers cannot be up."""
    from lab.backends.docker.daemon import connect  # noqa: PLC0415 - not before the test is known to run

    try:
        connected = connect()
    except NotSupportedError as error:
        pytest.skip(str(error))
    with closing(connected):
        yield connected


@pytest.fixture(scope="module")
def docker_backend(docker_client: DockerClient) -> Iterator[DockerBackend]:
    assert docker_client
    with closing(DockerBackend()) as made:
        yield made


def container(client: DockerClient, lab: str, node: str) -> dict[str, Any]:
    """Return what the daemon says of a node."""
    found: dict[str, Any] = client.api.inspect_container(f"lab-{lab}-{node}")
    return found


def network(client: DockerClient, lab: str, name: str) -> dict[str, Any]:
    """Return what the daemon says of a network of a lab."""
    (found,) = client.api.networks(names=[f"lab-{lab}-{name}"])
    return dict(client.api.inspect_network(found["Id"]))


def at_daemon(client: DockerClient, lab: str) -> list[str]:
    """Return the containers and networks that are labelled with the name of a lab."""
    filters = {"label": f"lab.name={lab}"}
    found = [one["Id"] for one in client.api.containers(all=True, filters=filters)]
    return found + [one["Id"] for one in client.api.networks(filters=filters)]


def left(client: DockerClient, plan: Plan) -> list[str]:
    """Return what there is of a lab: its containers and networks, and its folder."""
    return at_daemon(client, plan.name) + [name for name in registry.names() if name == plan.name]
