"""The containers of a lab: what each is made of, and what it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any, cast

from docker import DockerClient
from docker.errors import APIError
from docker.types import EndpointConfig, HostConfig, NetworkingConfig

from lab.backends.docker import labels, neutral
from lab.backends.docker.container import Container, opened
from lab.backends.docker.daemon import doing
from lab.backends.docker.labels import Lab
from lab.backends.docker.networks import Network
from lab.backends.owned.built import step
from lab.errors import BackendError
from lab.plan.model import Plan, PlannedInterface, PlannedNode

# What a container may use of the machine at the most, so that a program gone wild does not take it along.
_PROCESSES = 4096
_MEMORY = "2g"
_PROCESSORS = 2
_A_PROCESSOR = 1_000_000_000
# All other capabilities are dropped. Servers listen below 1024, and give root's powers up; who works in a host that
# serves nothing changes its tables, too. Routers are configured from outside, and by hand.
_SERVING = frozenset(("CHOWN", "DAC_OVERRIDE", "KILL", "NET_BIND_SERVICE", "NET_RAW", "SETGID", "SETUID"))
_NETWORK = frozenset(("NET_ADMIN",))
_LOGS = "/run/logs"
_WRITABLE = {"/run": "exec,nosuid,nodev,mode=755", "/tmp": "exec,nosuid,nodev,mode=1777"}  # noqa: S108 - the node's
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Making:
    """What all containers of a lab have in common.

    Attributes:
        networks: by their names in the plan.
        logs: a folder of the machine's that has one for each node, with the logs of its services.
        shared: folders of the machine's that all see in the same place.
        lab: what they are labelled with.
    """

    client: DockerClient
    plan: Plan
    networks: Mapping[str, Network]
    logs: Path
    shared: tuple[str, ...]
    lab: Lab
    processors: int


def name_of(lab: str, node: str) -> str:
    """Return what Docker calls the container of a node."""
    return f"lab-{lab}-{node}"


def start(making: Making, node: PlannedNode, image: str) -> Container:
    """Start a container that waits, with nothing of Docker's in its network.

    Raises:
        LabError: the daemon or the kernel refuses; the message names the node.
    """
    api = making.client.api
    with doing(f"node {node.name}"):
        container = _create(making, node, image)
        for interface in node.interfaces[1:]:
            network = making.networks[interface.network]
            api.connect_container_to_network(container, network.id, **_addresses(network, interface))
        api.start(container)
        process = int(api.inspect_container(container)["State"]["Pid"])
    with step(f"node {node.name}"):
        made = opened(node.name, container, process)
        neutral.strip(made.net)  # here, as the kernel takes its time over it, and several are started at once
    return made


def _create(making: Making, node: PlannedNode, image: str) -> str:
    api, name = making.client.api, name_of(making.plan.name, node.name)
    endpoints = {}
    for interface in node.interfaces[:1]:  # the daemon takes no more than one here
        network = making.networks[interface.network]
        endpoints[network.id] = api.create_endpoint_config(**_addresses(network, interface))
    try:
        made = api.create_container(
            image,
            _waiting(node),
            name=name,
            hostname=node.name,
            user="0",
            entrypoint=[],
            environment=dict(node.environment),
            labels=_labels(making, node),
            healthcheck={"test": ["NONE"]},
            host_config=_limits(making, node, network_mode=next(iter(endpoints), "none")),
            networking_config=_networking(endpoints),
        )
    except APIError as error:
        if error.status_code == _CONFLICT:
            msg = (
                f"node {node.name}: there is a container {name} already; if another lab has it, give this one another "
                f'name with "--name", else remove it: docker rm -f {name}'
            )
            raise BackendError(msg) from error
        raise
    return str(made["Id"])


def _networking(endpoints: dict[str, EndpointConfig]) -> NetworkingConfig:
    return NetworkingConfig(cast("EndpointConfig", endpoints))  # it wants a mapping of them, whatever its stub says


def _limits(making: Making, node: PlannedNode, network_mode: str) -> HostConfig:
    """Return what a container may do, and what it sees of the machine."""
    return making.client.api.create_host_config(
        network_mode=network_mode,
        binds=_binds(making, node),
        init=True,
        read_only=True,
        tmpfs=_WRITABLE,
        cap_drop=["ALL"],
        cap_add=sorted(_capabilities(node)),
        security_opt=["no-new-privileges"],
        pids_limit=_PROCESSES,
        mem_limit=_MEMORY,
        nano_cpus=min(_PROCESSORS, making.processors) * _A_PROCESSOR,
    )


def _capabilities(node: PlannedNode) -> frozenset[str]:
    if node.kind == "router":
        return _NETWORK | _SERVING if node.services else _NETWORK
    return _SERVING if node.services else _NETWORK | _SERVING


def _labels(making: Making, node: PlannedNode) -> dict[str, str]:
    addresses = " ".join(f"{one.name}={address}" for one in node.interfaces for address in one.addresses)
    return {
        **making.lab.labels,
        labels.NODE: node.name,
        labels.ADDRESSES: addresses,
    }


def _addresses(network: Network, interface: PlannedInterface) -> dict[str, Any]:
    """Return an interface's addresses as Docker's arguments; none where it numbers the network otherwise."""
    found = map(ip_interface, interface.addresses if network.is_planned else ())
    return {f"ipv{address.version}_address": str(address.ip) for address in found}


def _waiting(node: PlannedNode) -> list[str]:
    """Return what a container waits with; where there are services it prints their logs, for `docker logs`."""
    if not node.services:
        return ["sleep", "infinity"]
    return ["tail", "-q", "-n", "+1", "-F", *(f"{_LOGS}/{service.name}.log" for service in node.services)]


def _binds(making: Making, node: PlannedNode) -> list[str]:
    binds = [f"{path}:{path}" for path in making.shared]
    if node.services:
        folder = making.logs / node.name
        folder.mkdir(parents=True)
        for service in node.services:
            (folder / f"{service.name}.log").touch()
        binds.append(f"{folder}:{_LOGS}:ro")
    return binds
