"""The wires of a lab in the hands of a client, which programs them: see `wires`."""

from __future__ import annotations

import contextlib
import socket
import threading

from lab.backends.owned import messages
from lab.backends.owned.carrier import Carrier
from lab.errors import UsageError
from lab.link.instrument import Link


class BorrowedWires:
    """Carries the frames in a thread of this process, until the lab is down or `close` gives the wires back."""

    def __init__(self, connection: socket.socket, lent: messages.Message) -> None:
        """Take over the connection to the owner, and its answer."""
        self._connection = connection
        self._carrier = Carrier(connection, lent, keep_log=True, on_error=_report)
        self._links = {(wire.node, wire.interface): Link(wire, self._carrier.relay) for wire in self._carrier.wires}
        self._thread = threading.Thread(target=self._carrier.run, name="wires", daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether the lab is down, or they were given back."""
        return not self._thread.is_alive()

    def link(self, node: str, interface: str) -> Link:
        """Return one of them.

        Raises:
            UsageError: this link is no wire.
        """
        try:
            return self._links[node, interface]
        except KeyError:
            have = ", ".join(":".join(names) for names in self._links)
            msg = f'{node}:{interface} is no programmable wire ({have}); write "wire: true" at the interface'
            raise UsageError(msg) from None

    def close(self) -> None:
        """Give them back, and return when the thread has ended."""
        with contextlib.suppress(OSError):  # it has ended already, and closed the connection
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


def _report(error: Exception) -> None:
    """Report it as an exception that nobody caught in this thread, which goes on: pytest fails the test for it."""
    threading.excepthook(
        threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
    )
