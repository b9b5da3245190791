"""Builds a lab of containers, in its owner: images, networks, containers, and then all that netns does as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from docker import DockerClient
from docker.errors import ImageNotFound

from lab import images
from lab.backends.docker import containers, labels, networks, objects, own_files
from lab.backends.docker.daemon import AT_ONCE, connect, doing, together
from lab.backends.owned import baseline, wiring
from lab.backends.owned.built import Built, Namespaces, current, step
from lab.backends.owned.ownership import Lab
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone
from lab.plan.model import Plan
from lab.wait import wait_until

_THREADS = Path("/proc/self/task")
_THREADS_END_WITHIN = 10.0  # seconds


def build(lab: Lab, on_step: Callable[[str], None]) -> Built:
    """Build the lab; the calling process is left in the network namespace of its switches.

    Raises:
        LabError: a step failed; the message says which, and the daemon's or the kernel's reason.
    """
    on_step("daemon")
    client = connect()
    for refusal in objects.collect(client):  # of another lab, which is no reason not to build this one
        on_step(refusal)
    tags = _images(client, lab.plan, on_step)
    nodes = _containers(client, lab, tags, on_step)
    client.close()
    on_step("home")
    with step("the lab's own namespaces"):
        # Only a process of one thread may enter a mount namespace, and one that was joined is there a moment longer.
        wait_until(lambda: len(list(_THREADS.iterdir())) == 1, timeout=_THREADS_END_WITHIN, what="threads to end")
        namespaces.unshare(Clone.NET)
        baseline.pin(baseline.SWITCHES)
        with namespaces.own_folder() as own:
            home = current(own)
    _make_own(lab.plan, home, nodes)
    return wiring.connect(lab.plan, home, ((node, nodes[node.name]) for node in lab.plan.nodes), on_step)


def _images(client: DockerClient, plan: Plan, on_step: Callable[[str], None]) -> dict[str, str]:
    """Return the image of each node, by its name; each is there then."""
    ours: dict[str, str] = {}
    tags = {}
    for node in plan.nodes:
        if node.image:
            tags[node.name] = _foreign(client, node.name, node.image, on_step)
            continue
        name = images.for_node(node)
        if name not in ours:
            on_step(f"image {name}")
            ours[name] = images.ensure(client, name, on_step)
        tags[node.name] = ours[name]
    return tags


def _foreign(client: DockerClient, node: str, image: str, on_step: Callable[[str], None]) -> str:
    """Return an image that the topology names; it is pulled if it is not here.

    Raises:
        BackendError: it is nowhere.
    """
    with doing(f"node {node}: image {image}"):
        try:
            client.images.get(image)
        except ImageNotFound:
            on_step(f"pulling {image}")
            client.images.pull(image)
    return image


def _containers(
    client: DockerClient, lab: Lab, tags: Mapping[str, str], on_step: Callable[[str], None]
) -> dict[str, Namespaces]:
    """Start all containers, several at once; no thread is left when it returns."""
    plan, mine = lab.plan, labels.mine(lab.plan.name)
    labels.note(lab.entry, mine)
    on_step("docker networks")
    made = together(lambda one: networks.create(client, plan, one, mine), plan.networks)
    with doing("daemon"):
        processors = int(client.api.info()["NCPU"])
    making = containers.Making(
        client=client,
        plan=plan,
        networks=dict(zip((one.name for one in plan.networks), made, strict=True)),
        logs=lab.entry.path / "logs",
        shared=lab.shared,
        lab=mine,
        processors=processors,
    )
    starting = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for node in plan.nodes:
                on_step(f"node {node.name}")
                starting[node.name] = pool.submit(containers.start, making, node, tags[node.name])
            return {name: one.result() for name, one in starting.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _make_own(plan: Plan, home: Namespaces, nodes: Mapping[str, Namespaces]) -> None:
    """Make the containers the plan's nodes: with their own files and sysctls."""
    for node in plan.nodes:
        with step(f"node {node.name}"):
            container = nodes[node.name]
            with container.configured(home):
                baseline.pin(baseline.node_settings(node.kind, ipv6=node.ipv6))
            container.enter()
            try:
                own_files.place(plan, node)
            finally:
                home.enter()
