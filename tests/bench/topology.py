"""The file from which ours builds what the others build by program."""

from __future__ import annotations


def one_switch(name: str, nodes: int) -> str:
    """Return the YAML of a lab with one network and so many nodes.

    The last node is the router that gives the others their default route.
    """
    hosts = "".join(f"  h{number}: {{networks: {{lan: {{}}}}}}\n" for number in range(1, nodes))
    router = f"  h{nodes}: {{kind: router, networks: {{lan: {{}}}}}}\n"
    return f"name: {name}\nnetworks:\n  lan: {{subnet: 10.0.0.0/16}}\nnodes:\n{hosts}{router}"
