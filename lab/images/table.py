"""The images that there are, and which of them a node runs in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.errors import UsageError
from lab.images.context import Image
from lab.plan.model import PlannedNode

_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = _ROOT / "images"
_WITH_SERVERS = ("all", "servers")

# The image of each kind of service; every other kind is one of the project's own servers.
OF_KIND: Mapping[str, str] = {
    "command": "toolbox",
    "dnsmasq": "dnsmasq",
    "haproxy": "haproxy",
    "iperf3": "toolbox",
    "nginx": "nginx",
    "squid": "squid",
    "sshd": "toolbox",
    "xinetd": "toolbox",
}


def names() -> list[str]:
    """Return the names of the images, built or not."""
    return sorted(path.parent.name for path in _SOURCES.glob("*/Dockerfile"))


def named(name: str) -> Image:
    """Return an image.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in names():
        msg = f'no image named "{name}"; there are {", ".join(names())}'
        raise UsageError(msg)
    folders = {"": _SOURCES / name}
    if name in _WITH_SERVERS:
        folders["servers"] = _ROOT / "servers"
    return Image(name, folders)


def for_node(node: PlannedNode) -> str:
    """Return the name of the image that has all programs of a node's services."""
    wanted = {OF_KIND.get(service.kind, "servers") for service in node.services}
    if not wanted:
        return "toolbox"
    return wanted.pop() if len(wanted) == 1 else "all"
