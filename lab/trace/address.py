"""The one way in which packets write an address, so that addresses can be compared as text."""

from __future__ import annotations

import socket

from lab.errors import UsageError


def canonical(address: str) -> str:
    """Rewrite an IPv4 or IPv6 address the way decoded packets have it.

    Raises:
        UsageError: it is no address.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, address))
    except (OSError, ValueError) as error:
        raise UsageError(f"{address!r} is not an IP address; write 10.0.1.10 or 2001:db8::1, without prefix") from error
