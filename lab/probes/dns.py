"""DNS queries over a UDP socket of a node (RFC 1035): one question to one server, whatever resolv.conf says.

with lab["client"].socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
    answer = dns.ask(channel, "10.0.1.53", "www.example.test")
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from lab.errors import ProbeError

if TYPE_CHECKING:
    from dns.message import Message


def ask(
    channel: socket.socket, server: str, name: str, kind: str = "A", *, port: int = 53, timeout: float = 5.0
) -> Message:
    """Return the server's answer to one query.

    Args:
        channel: a UDP socket.
        name: complete, with or without the dot at its end; for kind "PTR" an address will do.
        timeout: seconds.

    Raises:
        ProbeError: no answer came, or none that can be read.
    """
    import dns.exception  # noqa: PLC0415 - slow to load
    import dns.inet  # noqa: PLC0415 - slow to load
    import dns.message  # noqa: PLC0415 - slow to load
    import dns.query  # noqa: PLC0415 - slow to load
    import dns.reversename  # noqa: PLC0415 - slow to load

    is_address = kind == "PTR" and dns.inet.is_address(name)
    asked = dns.reversename.from_address(name) if is_address else name
    channel.setblocking(False)  # noqa: FBT003 - the socket module's own signature; dnspython waits by itself
    try:
        return dns.query.udp(dns.message.make_query(asked, kind), server, timeout, port, sock=channel)
    except (OSError, dns.exception.DNSException) as error:
        msg = f"no answer from {server} to {kind} {name}: {error}"
        raise ProbeError(msg) from error
