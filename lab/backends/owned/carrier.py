"""Carries the frames of a lab's wires, in a process of the owner's or in a client: see `wires`."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

from lab.backends.owned import messages
from lab.link.device import Ends
from lab.link.relay import Relay
from lab.link.wire import Wire
from lab.plan.model import Impairment


class Carrier:
    """Has the wires that a message of the owner's describes, and obeys what comes on the channel."""

    def __init__(
        self,
        channel: socket.socket,
        described: messages.Message,
        *,
        keep_log: bool,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        """Take the message's descriptors over; `keep_log` and `on_error` are as in `lab.link.wire.Wire`."""
        self._channel = channel
        epoch = time.time_ns() - time.monotonic_ns()
        self._ends = []
        self.wires = []
        for number, one in enumerate(described.body["wires"]):
            node, port = described.descriptors[2 * number : 2 * number + 2]
            self._ends.append(Ends(node, port, one["largest"]))
            self.wires.append(
                Wire(
                    one["node"],
                    one["interface"],
                    impairment(one["out"]),
                    impairment(one["incoming"]),
                    seed=described.body["seed"],
                    epoch=epoch,
                    keep_log=keep_log,
                    on_error=on_error,
                )
            )
        self.relay = Relay(zip(self.wires, self._ends, strict=True))

    def run(self) -> None:
        """Carry frames until the channel closes, or until told to hand the wires over, with nothing on its way."""
        try:
            self.relay.run(self._channel.fileno(), self._obey)
        finally:
            self.relay.close()
            for ends in self._ends:
                ends.close()
            self._channel.close()

    def _obey(self) -> bool:
        try:
            message = messages.receive(self._channel)
        except messages.ConnectionLostError:
            self.relay.forget()  # the lab is down: nothing of it may live until the last frame would have arrived
            return False
        body = message.body
        if "finish" in body:
            return False
        self.wires[body["impair"]].impair(impairment(body["out"]), impairment(body["incoming"]))
        for descriptor in message.descriptors:  # whose end tells who asked that it is done
            os.close(descriptor)
        return True


def impairment(data: dict[str, Any] | None) -> Impairment | None:
    """Return the impairment that a message carries as a mapping."""
    return Impairment(**data) if data else None
