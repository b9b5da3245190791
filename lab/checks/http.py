"""HTTP requests and responses of a trace; `http.exchanges(capture.trace, port=80)`."""

from __future__ import annotations

from typing import Literal

from lab.trace import http
from lab.trace.http import Exchange, Request
from lab.trace.trace import Trace

TargetForm = Literal["origin", "absolute", "authority", "asterisk"]


def exchanges(trace: Trace, *, port: int) -> tuple[Exchange, ...]:
    """Return all exchanges with servers on a port, connection after connection.

    Raises:
        IncompleteStreamError: the capture has gaps.
        MalformedMessageError: what was sent there is not HTTP.
    """
    return tuple(
        exchange
        for conversation in trace.conversations()
        if conversation.server[1] == port
        for exchange in http.exchanges(conversation)
    )


def target_form(request: Request) -> TargetForm:
    """Return how the target is written (RFC 9112, section 3.2): "origin" to a server, "absolute" to a proxy."""
    if request.target == "*":
        return "asterisk"
    if request.method == "CONNECT":
        return "authority"
    return "origin" if request.target.startswith("/") else "absolute"
