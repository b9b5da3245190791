"""Makes the namespaces of a lab and of its nodes, step by step, in the calling process.

Nothing here is undone by hand: every namespace hangs on a descriptor of this process, so whenever it ends,
at whatever step, the kernel takes all of it down at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from lab.backends.netns import files
from lab.backends.netns.ahead import OWN, made_ahead
from lab.backends.owned import baseline, wiring
from lab.backends.owned.built import Built, Namespaces, current, step
from lab.netlink import namespaces
from lab.plan.model import Plan, PlannedNode


def build(plan: Plan, staging: Path, shared: tuple[str, ...], on_step: Callable[[str], None]) -> Built:
    """Build the plan and return its namespaces; the calling process is left in the lab's home namespaces.

    Args:
        staging: a folder to mount the lab's own tmpfs on, in the lab's mount namespace alone.
        shared: see `files.prepare_node`.
        on_step: called with the name of each step before it is taken.

    Raises:
        BackendError: a step failed; the message says which, and the kernel's reason.
    """
    on_step("home")
    with step("the lab's own namespaces"):
        namespaces.unshare(OWN)
        files.prepare_home(str(staging))
        baseline.pin(baseline.SWITCHES)
        with namespaces.own_folder() as own:
            home = current(own)
    with made_ahead([node.name for node in plan.nodes], home) as made:
        return wiring.connect(plan, home, _filled(plan, home, made, staging, shared, on_step), on_step)


def _filled(
    plan: Plan,
    home: Namespaces,
    made: Iterator[Namespaces],
    staging: Path,
    shared: tuple[str, ...],
    on_step: Callable[[str], None],
) -> Iterator[tuple[PlannedNode, Namespaces]]:
    """Give the nodes, one after the other, as they have been made and have got their own files and sysctls."""
    settings: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for node in plan.nodes:
        on_step(f"node {node.name}")
        with step(f"node {node.name}"):
            own = next(made)
            with own.configured(home):
                files.prepare_node(f"{staging}/{node.name}", _texts(plan, node), shared)
                sort = (node.kind, node.ipv6)
                if sort not in settings:
                    settings[sort] = baseline.pin(baseline.node_settings(node.kind, ipv6=node.ipv6))
                else:
                    baseline.write_all(settings[sort])
        yield node, own


def _texts(plan: Plan, node: PlannedNode) -> dict[str, str]:
    """Return the node's own files of /etc."""
    texts = {
        "/etc/hosts": plan.hosts_file,
        "/etc/resolv.conf": node.resolv_conf,
        "/etc/hostname": f"{node.name}\n",
    }
    if files.exists("/etc/nsswitch.conf"):
        texts["/etc/nsswitch.conf"] = files.name_service()
    if node.services:
        texts["/etc/passwd"] = files.users()
    return texts
