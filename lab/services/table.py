"""The kinds of service that there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab import servers
from lab.services.command import Command
from lab.services.dnsmasq import Dnsmasq
from lab.services.haproxy import Haproxy
from lab.services.iperf3 import Iperf3
from lab.services.kind import Kind
from lab.services.nginx import Nginx
from lab.services.reference import Reference
from lab.services.squid import Squid
from lab.services.sshd import Sshd
from lab.services.xinetd import Xinetd

KINDS: Mapping[str, type[Kind]] = {
    "command": Command,
    "dnsmasq": Dnsmasq,
    "haproxy": Haproxy,
    "iperf3": Iperf3,
    "nginx": Nginx,
    "squid": Squid,
    "sshd": Sshd,
    "xinetd": Xinetd,
}


class Kinds(Mapping[str, type[Kind]]):
    """Every kind that a topology may name: those of the table, and the project's servers by their names."""

    def __getitem__(self, kind: str) -> type[Kind]:
        if kind in KINDS:
            return KINDS[kind]
        if kind in servers.names():
            return Reference
        raise KeyError(kind)

    def __iter__(self) -> Iterator[str]:
        return iter([*KINDS, *servers.names()])

    def __len__(self) -> int:
        return len(list(iter(self)))
