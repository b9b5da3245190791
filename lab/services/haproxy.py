"""haproxy: a load balancer."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import SOME, Endpoint, PortNumber, joined, split

# One thread, so that turns are taken strictly; no checks unless asked for, so that the wire is the clients' alone.
_CONFIGURATION = """\
global
    log stdout format raw local0
    nbthread 1
    maxconn 1000
defaults
    mode {mode}
    log global
    option {mode}log
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    retries 1
    option redispatch
frontend clients
    bind :{port}
    default_backend servers
backend servers
    balance {balance}
{servers}"""


class Haproxy(Kind):
    """A load balancer: TCP connections or HTTP requests are shared out among backends."""

    package: ClassVar[str] = "haproxy"

    port: PortNumber = Field(default=80, description="Where it listens.")
    backends: Annotated[tuple[Endpoint, ...], Field(strict=False), SOME] = Field(
        description="The servers behind it, like web1:80."
    )
    mode: Literal["http", "tcp"] = Field(default="http", description="What is shared out: requests or connections.")
    balance: Literal["roundrobin", "leastconn", "source", "uri", "first", "random"] = Field(
        default="roundrobin", description="How the next server is chosen."
    )
    check: bool = Field(default=False, description="Ask every backend now and then whether it is alive.")

    def program(self, place: Place) -> Program:
        """Return what to run."""
        path = f"{place.home}/haproxy.cfg"
        check = " check inter 500ms fall 2 rise 1" if self.check else ""
        servers = []
        for endpoint in self.backends:
            host, port = split(endpoint)
            name = endpoint.replace("[", "").replace("]", "")
            servers.append(f"    server {name} {joined(place.addresses_of(host)[0], port)}{check}\n")
        text = _CONFIGURATION.format(mode=self.mode, port=self.port, balance=self.balance, servers="".join(servers))
        return Program(
            arguments=("haproxy", "-db", "-f", path),
            files={path: text},
            ports=(Port("tcp", self.port),),
        )
