"""What labs have at the daemon, and how it is removed.

What is whose is told by all labels together: two labs may have the same name, one after the other or at once.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError, NotFound

from lab.backends.docker import labels
from lab.backends.docker.daemon import doing, together
from lab.backends.docker.labels import Lab
from lab.backends.owned import entrants
from lab.errors import BackendError, WaitTimeoutError
from lab.wait import wait_until

_GOES_WITHIN = 60.0  # seconds
_COMES_WITHIN = 1.0
_CONFLICT = 409  # the answer while somebody else is removing it


def remove_lab(client: DockerClient, lab: Lab) -> None:
    """Remove the containers and networks of a lab.

    Raises:
        BackendError: the daemon does not answer, or refuses.
    """
    containers = _containers(client, lab)
    entrants.wake({found for found in together(lambda one: _numbering(client, one), containers) if found})
    networks = _networks(client, lab)
    # One after the other: if several leave at once, Docker 20.10 may lose count, and keeps the network for ever.
    for network in networks:
        _empty(client, network)
    together(lambda one: _remove_container(client, one), containers)
    together(lambda one: _remove_network(client, one), networks)


def remove_latecomers(client: DockerClient, lab: Lab) -> None:
    """Remove what a lab gets after all: the daemon goes on with a request although its sender was killed.

    Raises:
        BackendError: the daemon does not answer, or refuses.
    """
    with suppress(WaitTimeoutError):
        wait_until(
            lambda: bool(_containers(client, lab) or _networks(client, lab)), timeout=_COMES_WITHIN, what="latecomers"
        )
        remove_lab(client, lab)


def collect(client: DockerClient) -> list[str]:
    """Remove what labs have left whose owners and guards were killed; return why something could not be.

    Raises:
        BackendError: the daemon does not answer.
    """
    refusals = []
    with doing("looking for what dead labs have left"):
        found = client.api.containers(all=True, filters={"label": labels.LAB})
        found += client.api.networks(filters={"label": labels.LAB})
    for lab in {lab for one in found if (lab := labels.lab_of(one["Labels"])) and lab.is_dead}:
        try:
            remove_lab(client, lab)
        except BackendError as error:
            refusals.append(f'lab "{lab.name}": {error}')
    return refusals


def _containers(client: DockerClient, lab: Lab) -> list[str]:
    with doing("listing containers"):
        found = client.api.containers(all=True, filters={"label": _filter(lab)})
    return [one["Id"] for one in found]


def _networks(client: DockerClient, lab: Lab) -> list[str]:
    with doing("listing networks"):
        return [one["Id"] for one in client.api.networks(filters={"label": _filter(lab)})]


def _filter(lab: Lab) -> list[str]:
    """Return the labels as the daemon wants them; what it finds has all of them."""
    return [f"{key}={value}" for key, value in lab.labels.items()]


def _numbering(client: DockerClient, container: str) -> str:
    """Return the PID namespace of a container; nothing if it does not run."""
    with doing("looking at a container"), suppress(NotFound, FileNotFoundError):
        process = client.api.inspect_container(container)["State"]["Pid"]
        return str(Path(f"/proc/{process}/ns/pid").readlink()) if process else ""
    return ""


def _remove_container(client: DockerClient, container: str) -> None:
    with doing("removing a container"):
        try:
            client.api.remove_container(container, force=True, v=True)
        except NotFound:
            return
        except APIError as error:
            if error.status_code != _CONFLICT:
                raise
            wait_until(lambda: _is_gone(client, container), timeout=_GOES_WITHIN, what="a container to be removed")


def _is_gone(client: DockerClient, container: str) -> bool:
    try:
        client.api.inspect_container(container)
    except NotFound:
        return True
    return False


def _empty(client: DockerClient, network: str) -> None:
    """Disconnect all containers from a network, those that are not the lab's too."""
    with doing("looking at a network"), suppress(NotFound):
        for guest in client.api.inspect_network(network)["Containers"]:
            with suppress(APIError):  # it has ended meanwhile, and so left
                client.api.disconnect_container_from_network(guest, network, force=True)


def _remove_network(client: DockerClient, network: str) -> None:
    with doing("removing a network"), suppress(NotFound):
        client.api.remove_network(network)
