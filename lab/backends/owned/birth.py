"""A lab that is coming up, as its client follows it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from lab.backends.owned import messages
from lab.backends.owned.asking import closes

_ENDS_WITHIN = 30.0  # seconds


class Birth:
    """Follows a lab from the request to `ready`, or to the end of whatever had been built."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._gone: int | None = None

    def follow(self, on_step: Callable[[str], None] | None) -> None:
        """Return once the lab is up; raises what its guard or owner reports.

        On a busy machine the owner may have built it before the guard has told of the owner.
        """
        is_ready = False
        while not is_ready or self._gone is None:
            message = messages.check(messages.receive(self._channel))
            if "owner" in message.body:
                (self._gone,) = message.descriptors
            elif "step" in message.body:
                assert on_step  # noqa: S101 - else they are not asked for
                on_step(message.body["step"])
            else:
                is_ready = True

    def abandon(self) -> None:
        """Make the lab end, and wait until it has: closing the channel is what its owner notices."""
        self._channel.settimeout(_ENDS_WITHIN)
        while self._gone is None:
            try:
                message = messages.receive(self._channel)
            except (messages.ConnectionLostError, TimeoutError):
                break
            if "owner" in message.body:
                (self._gone,) = message.descriptors
        self._channel.close()
        if self._gone is not None:
            closes(self._gone, _ENDS_WITHIN)
            os.close(self._gone)

    def survive(self, *, detached: bool) -> socket.socket | None:
        """Return the channel that the lab ends with; None for one that needs no client."""
        assert self._gone is not None  # noqa: S101 - `follow` has returned
        if detached:
            messages.send(self._channel, {"detached": True})
            self._channel.close()
        os.close(self._gone)
        return None if detached else self._channel
