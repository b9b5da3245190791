"""Limits, buffers and the process list, as the owner of a lab handles them."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Mapping
from typing import Any

from lab.backends.owned.built import Namespaces

# What a login gives a program, whatever the harness itself was started with.
_NODE_DESCRIPTORS = 1024
_SO_RCVBUFFORCE = 33


def allow_many_descriptors() -> None:
    """Let the owner hold as many descriptors as it may: four per node."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def restore_limits() -> None:
    """Give a node's process the usual limit on descriptors again; the hard limit stays as it is."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_NODE_DESCRIPTORS, hard), hard))


def enlarge_receive_buffer(made: socket.socket, size: int) -> None:
    """Ask for a receive buffer of `size` bytes; an ordinary user gets as much as the machine's rmem_max allows."""
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def processes(nodes: Mapping[str, Namespaces]) -> list[dict[str, Any]]:
    """Return every program of the lab: {pid, node, command}; pids are those by which their nodes know them."""
    inodes = {os.fstat(node.net).st_ino: name for name, node in nodes.items()}
    keepers = frozenset().union(*(node.keepers for node in nodes.values()))
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only
        if not entry.isdigit() or int(entry) in keepers:
            continue
        try:
            name = inodes.get(os.stat(f"/proc/{entry}/ns/net").st_ino)  # noqa: PTH116 - names only
            with open(f"/proc/{entry}/cmdline", "rb") as file:  # noqa: PTH123 - names only
                words = file.read(4096).rstrip(b"\0").split(b"\0")
            pid = nodes[name].shown(int(entry)) if name else 0
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or is none of the node's
        if name:
            found.append({"pid": pid, "node": name, "command": [os.fsdecode(word) for word in words]})
    return sorted(found, key=lambda process: process["pid"])
