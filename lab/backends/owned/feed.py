"""What a client hears of all that is done to a lab."""

from __future__ import annotations

import socket

from lab.backends.owned import messages
from lab.faults.model import Mark


class OwnedFeed:
    """See `lab.backends.base.MarkFeed`: the owner sends each mark before it answers who asked for the fault."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        self.ended = False
        self._connection = connection
        self.fileno = connection.fileno
        self.close = connection.close

    def read(self) -> list[Mark]:
        """Return what has come since the last call."""
        marks = []
        while True:
            try:
                marks.append(Mark(**messages.receive(self._connection).body))
            except BlockingIOError:
                return marks
            except messages.ConnectionLostError:
                self.ended = True
                return marks
