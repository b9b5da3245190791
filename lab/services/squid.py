"""squid: a caching HTTP proxy."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
import signal
from typing import Annotated, ClassVar

from pydantic import Field

from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import DnsName, PortNumber

# One process without helpers, on the disk or on the wire, so that all that is seen of it is what clients cause.
_CONFIGURATION = """\
http_port {port}
visible_hostname {node}
cache_mem {memory} MB
pid_filename none
coredump_dir {home}
cache_log stdio:/dev/stderr
access_log stdio:/dev/stdout
cache_store_log none
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
memory_cache_shared off
shared_memory_locking off
via on
forwarded_for on
{resolver}
{refusals}
http_access allow all
"""


class Squid(Kind):
    """A caching HTTP proxy, open to all."""

    package: ClassVar[str] = "squid"
    # Its orderly end takes two seconds; what it keeps is in folders of the node's own.
    stop_signal: ClassVar[int] = signal.SIGKILL

    port: PortNumber = Field(default=3128, description="Where it listens.")
    refuse: Annotated[tuple[DnsName, ...], Field(strict=False)] = Field(
        default=(), description="Domains that it answers 403 for, with all below them."
    )
    memory: Annotated[int, Field(ge=0, le=1024)] = Field(default=8, description="Megabytes of cache; 0 for none.")

    def program(self, place: Place) -> Program:
        """Return what to run."""
        resolver = f"dns_nameservers {place.resolver}" if place.resolver else "dns_nameservers none"
        # A domain below another one that is refused would keep squid from starting.
        refused = [name.lower() for name in self.refuse]
        widest = [name for name in refused if not any(name.endswith(f".{other}") for other in refused)]
        refusals = "".join(f"acl refused dstdomain .{name}\n" for name in dict.fromkeys(widest))
        text = _CONFIGURATION.format(
            port=self.port,
            node=place.node.name,
            memory=self.memory,
            home=place.home,
            resolver=resolver,
            refusals=f"{refusals}http_access deny refused" if refusals else "",
        )
        path = f"{place.home}/squid.conf"
        return Program(
            arguments=("squid", "-N", "-n", f"lab{place.service.replace('-', '').replace('_', '')}", "-f", path),
            files={path: text},
            ports=(Port("tcp", self.port),),
        )
