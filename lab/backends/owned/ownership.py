"""What a guard hands to the owner of its lab, and how the owner ends."""

from __future__ import annotations

import os
import select
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lab.backends.owned import registry
from lab.backends.owned.messages import ConnectionLostError
from lab.plan.model import Plan

if TYPE_CHECKING:
    from lab.backends.owned.maker import Maker


@dataclass(frozen=True, slots=True)
class Lab:
    """The lab that the calling process owns.

    Attributes:
        client: the channel of who asked for the lab; its end ends the lab, unless a message on it lets it go on.
        guard_gone: a pipe that closes when the guard ends.
        rootless: the lab lives in a user namespace of its own.
        options: shared (list of folders), steps (whether the client is to be told of each).
    """

    plan: Plan
    entry: registry.Entry
    client: socket.socket
    guard_gone: int
    rootless: bool
    options: dict[str, Any]
    maker: Maker

    @property
    def staging(self) -> Path:
        """Where the lab's own files are mounted, in its own mount namespaces."""
        return self.entry.path / "nodes"

    @property
    def shared(self) -> tuple[str, ...]:
        """The machine's folders that nodes see although they lie in folders of their own."""
        return tuple(self.options["shared"])

    @property
    def tells_steps(self) -> bool:
        """Whether the client wants to hear of each step."""
        return bool(self.options["steps"])

    def go_on(self) -> None:
        """Return if there is still somebody to build the lab for.

        Without a guard there is nobody to end a lab that hangs, so there is to be no lab: it ends at once.

        Raises:
            ConnectionLostError: the client is gone, which says nothing before the lab is up.
        """
        gone = select.select([self.guard_gone, self.client.fileno()], [], [], 0)[0]
        if self.guard_gone in gone:
            self.end()
        if gone:
            msg = "the client has closed"
            raise ConnectionLostError(msg)

    def end(self) -> NoReturn:
        """End, and leave no more to the guard than it will clear away."""
        try:
            self.maker.clear_before(self)
        finally:
            os._exit(0)  # whatever could not be cleared away is the guard's to clear
