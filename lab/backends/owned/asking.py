"""How a client speaks to an owner: a request and its answer, and pipes that close when something is done."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from typing import Any

from lab.backends.owned import messages
from lab.errors import BackendError


def ask(connection: socket.socket, body: dict[str, Any], descriptors: Sequence[int] = ()) -> messages.Message:
    """Send a request to an owner and return its answer.

    Raises:
        BackendError: the lab has gone down.
        LabError: what the owner reports.
    """
    try:
        messages.send(connection, body, descriptors)
        return messages.check(messages.receive(connection))
    except messages.ConnectionLostError as error:
        msg = "the lab went down meanwhile"
        raise BackendError(msg) from error


def closes(pipe: int, timeout: float) -> bool:
    """Wait up to `timeout` seconds for the other end of a pipe to be closed by all who have it."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
