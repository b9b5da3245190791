"""Trials of what single experiments use: filters, socket tables, repaired sockets, congestion control."""

from __future__ import annotations

import os
import socket

from pyroute2 import DiagSocket
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.nftables.main import NFTables

from lab.doctor import arena
from lab.doctor.network import module, pair
from lab.doctor.trial import Trial
from lab.netlink import rtnetlink, sysctl
from lab.netlink.namespaces import Clone

_TCP_REPAIR = 19  # <linux/tcp.h>
_LISTENING = 1 << 10  # a bit per state; TCP_LISTEN is 10 in the kernel's <net/tcp_states.h>
_ACCEPT = 1  # NF_ACCEPT
_CONGESTION_CONTROL_KEY = "net.ipv4.tcp_congestion_control"


def trials() -> list[Trial]:
    """Return the trials; labs come up without any of these."""
    return [
        Trial("nftables", "network", _nftables, module("nf_tables", "NF_TABLES"), required=False),
        Trial("sock_diag", "network", _sock_diag, module("tcp_diag", "INET_DIAG"), required=False),
        Trial("TCP_REPAIR", "network", _tcp_repair, "boot a kernel that has CONFIG_INET", required=False),
        Trial("cubic", "network", _cubic, module("tcp_cubic", "TCP_CONG_CUBIC"), required=False),
    ]


def _nftables() -> str:
    arena.enter(Clone.NET)
    with NFTables() as tables:
        try:
            tables.table("add", name="t")
            tables.chain("add", table="t", name="c", hook="input", type="filter", policy=_ACCEPT, priority=0)
        except NetlinkError as error:
            raise OSError(error.code, os.strerror(error.code)) from error
    return "a chain is hooked to what comes in"


def _sock_diag() -> str:
    arena.enter(Clone.NET)
    with rtnetlink.open_socket() as channel:
        rtnetlink.transact(channel, [rtnetlink.up(rtnetlink.LOOPBACK_INDEX, "lo")])
    with socket.create_server(("127.0.0.1", 0)) as server, DiagSocket() as table:
        port = server.getsockname()[1]
        found = [one["idiag_sport"] for one in table.get_sock_stats(family=socket.AF_INET, states=_LISTENING)]
    if port not in found:
        raise LookupError(f"port {port} listens and is not in the socket table")
    return "a listening socket is found in the table"


def _tcp_repair() -> str:
    arena.enter(Clone.NET)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as repaired:
        repaired.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    return "a socket can be put into repair"


def _cubic() -> str:
    return arena.in_home(_choose_cubic)


def _choose_cubic() -> str:
    """Choose it for the namespace, which its host may not allow, or else for one route, which anyone may."""
    try:
        sysctl.write(_CONGESTION_CONTROL_KEY, "cubic")
    except PermissionError:
        with rtnetlink.open_socket() as channel:
            _first, second = pair(channel)
            requests = [
                rtnetlink.address(second, "192.0.2.1/24"),
                rtnetlink.route(second, "198.51.100.0/24", "192.0.2.2", congestion_control="cubic"),
            ]
            rtnetlink.transact(channel, requests)
        return "not allowed for a namespace here, so routes carry it"
    return "allowed for a namespace"
