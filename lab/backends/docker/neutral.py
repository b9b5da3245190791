"""What Docker puts into a container's network, taken out again: a node has what its plan says, and nothing else."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from lab.errors import NotSupportedError
from lab.netlink import aborting, namespaces, nftables, rtnetlink
from lab.netlink.namespaces import Clone

_LEGACY = Path("/proc/thread-self/net/ip_tables_names")


def strip(net: int) -> None:
    """Leave a container's network namespace, a descriptor, with a loopback interface alone.

    Away go Docker's interfaces with their addresses and routes; its DNS server's sockets; and the rules that lead to
    that, which have the kernel track connections and put fragments together.

    Raises:
        NotSupportedError: the rules are of a sort that cannot be taken out.
        OSError: the kernel refuses.
    """
    machine = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with namespaces.entered(net, Clone.NET, machine):
            _strip()
    finally:
        os.close(machine)


def _strip() -> None:
    if _LEGACY.exists() and _LEGACY.read_text():
        msg = "Docker uses iptables-legacy, whose tables cannot be taken out of a node: install iptables-nft"
        raise NotSupportedError(msg)
    with rtnetlink.open_socket() as channel:
        found = [(index, name) for index, name in socket.if_nameindex() if index != rtnetlink.LOOPBACK_INDEX]
        rtnetlink.transact(channel, [rtnetlink.removal(index, name) for index, name in found])
    nftables.flush()
    with suppress(NotSupportedError):  # then they are there, and nobody asks them
        for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            aborting.abort_connections(protocol)
