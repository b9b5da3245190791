"""The peer that a plain script would be: one network and its containers by the Docker SDK, one after the other.

Its arguments: the tag of an image, the number of nodes.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

import docker
from docker.types import IPAMConfig, IPAMPool

from tests.bench.protocol import contend
from tests.bench.topology import address, gateway, subnet

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import DockerClient


def _up(client: DockerClient, image: str, hosts: int) -> Callable[[], None]:
    name = f"bench-{os.getpid()}"
    pool = IPAMPool(subnet=subnet(), gateway=gateway())
    network = client.networks.create(name, internal=True, ipam=IPAMConfig(pool_configs=[pool]))
    containers = []
    for number in range(1, hosts + 1):
        endpoint = client.api.create_endpoint_config(ipv4_address=address(number))
        container = client.containers.create(
            image, name=f"{name}-h{number}", network=name, networking_config={name: endpoint}, cap_drop=["ALL"]
        )
        container.start()
        containers.append(container)

    def down() -> None:
        for container in containers:
            container.remove(force=True)
        network.remove()

    return down


def main(image: str, hosts: int) -> None:
    client = docker.from_env()
    contend(functools.partial(_up, client, image, hosts))
    client.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
