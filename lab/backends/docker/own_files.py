"""The files of /etc that are a node's own, in a container."""

from __future__ import annotations

from pathlib import Path

from lab.backends.owned import files
from lab.netlink.namespaces import Mount, mount
from lab.plan.model import Plan, PlannedNode

_FOLDER = "/run/etc"


def place(plan: Plan, node: PlannedNode) -> None:
    """Mount them over the image's, in the mount namespace of the calling thread, which is the container's.

    Raises:
        OSError: the kernel refuses.
    """
    texts = {"hosts": plan.hosts_file, "resolv.conf": node.resolv_conf}
    changed = {"nsswitch.conf": files.name_service} | ({"passwd": files.users} if node.services else {})
    texts |= {name: change(_text(name)) for name, change in changed.items() if Path(f"/etc/{name}").exists()}
    Path(_FOLDER).mkdir(mode=0o755)
    for name, text in texts.items():
        own = f"{_FOLDER}/{name}"
        files.write(own, text)
        mount(own, f"/etc/{name}", flags=Mount.BIND)


def _text(name: str) -> str:
    return Path(f"/etc/{name}").read_text(encoding="utf-8")
