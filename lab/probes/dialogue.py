"""HTTP over one connection, request after request, with a server that may do anything.

    with Dialogue(lab["left"].connect(address, 80)) as dialogue:
        dialogue.send(http.request("GET", "/", host="web"))
        assert dialogue.response().status == 200
        assert dialogue.end() == "open"

A response that does not come is a result here (None), not an error: scenarios assert what they get.
"""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Literal, Self

from lab.trace.http import MalformedMessageError, Response, ResponseReader

_CHUNK = 1 << 18
_PATIENCE = 5.0

End = Literal["closed", "reset", "open", "more"]


class Dialogue:
    """The client's end of a connection; closed when left as a context manager."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._rest = b""

    def send(self, message: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: the server has closed or reset the connection.
        """
        self.connection.settimeout(_PATIENCE)
        self.connection.sendall(message)

    def response(self, method: str = "GET", timeout: float = _PATIENCE) -> Response | None:
        """Return the next response; None if none came whole in time, or something else came.

        Args:
            method: of the request; a response to HEAD has no body.
            timeout: seconds.
        """
        reader = ResponseReader(method)
        deadline = time.monotonic() + timeout
        piece = self._rest
        try:
            while True:
                reader.feed(piece)
                if reader.complete:
                    break
                self.connection.settimeout(max(deadline - time.monotonic(), 0.001))
                piece = self.connection.recv(_CHUNK)
                if not piece:
                    reader.end()
                    break
        except (OSError, MalformedMessageError):
            return None
        self._rest = reader.rest
        return reader.response if reader.complete else None

    def ask(self, message: bytes) -> Response | None:
        """Send a request and return its response, as `send` and `response`; None if it cannot even be sent."""
        try:
            self.send(message)
        except OSError:
            return None
        return self.response(message.split(b" ", 1)[0].decode("latin-1"))

    def end(self, timeout: float = _PATIENCE) -> End:
        """Return how the server has ended the connection: "closed" in good order, "reset", or not at all: "open".

        "more" means that something came that no `response` has taken.

        Args:
            timeout: seconds to wait for its end.
        """
        if self._rest:
            return "more"
        self.connection.settimeout(timeout)
        try:
            return "more" if self.connection.recv(1) else "closed"
        except TimeoutError:
            return "open"
        except OSError:
            return "reset"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()
