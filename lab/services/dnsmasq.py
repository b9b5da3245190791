"""dnsmasq: a DNS server that knows the lab, and nothing else."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from lab.plan.model import LOCALHOST
from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import DnsName, Host, PortNumber

# Reads nothing of the machine's, asks nobody else, and says so of names that it does not know (local=/#/).
_CONFIGURATION = """\
port={port}
keep-in-foreground
user=
group=
pid-file=
no-resolv
no-hosts
no-poll
log-facility=-
log-queries
domain={domain}
expand-hosts
local=/#/
addn-hosts={hosts}
"""


class Dnsmasq(Kind):
    """A DNS server: every node, under its own name and in the lab's domain, and what is written here."""

    package: ClassVar[str] = "dnsmasq-base"

    port: PortNumber = Field(default=53, description="Where it listens, by UDP and TCP.")
    hosts: Mapping[DnsName, Host] = Field(
        default={}, description="Further names, with the node or address of each: www.example.com: web"
    )
    cnames: Mapping[DnsName, DnsName] = Field(
        default={}, description="Aliases, with the name that each stands for; one that this server knows itself."
    )
    wildcards: Mapping[DnsName, Host] = Field(
        default={}, description="Domains in which every name, and the domain's own, is at one node or address."
    )

    def program(self, place: Place) -> Program:
        """Return what to run."""
        path, hosts = f"{place.home}/dnsmasq.conf", f"{place.home}/hosts"
        text = _CONFIGURATION.format(port=self.port, domain=place.plan.domain, hosts=hosts)
        text += "".join(f"cname={alias},{name}\n" for alias, name in self.cnames.items())
        text += "".join(
            f"address=/{domain}/{address}\n"
            for domain, host in self.wildcards.items()
            for address in place.addresses_of(host)
        )
        extra = "".join(
            f"{address} {name}\n" for name, host in self.hosts.items() for address in place.addresses_of(host)
        )
        nodes = place.plan.hosts_file.removeprefix(LOCALHOST)  # each node has its own, whoever asks
        return Program(
            arguments=("dnsmasq", f"--conf-file={path}"),
            files={path: text, hosts: nodes + extra},
            ports=(Port("udp", self.port), Port("tcp", self.port)),
        )
