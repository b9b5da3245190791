"""What a guard hands to the owner of its lab, and how the owner ends."""

from __future__ import annotations

import os
import select
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lab.backends.netns import registry
from lab.netlink import namespaces
from lab.plan.model import Plan


@dataclass(frozen=True, slots=True)
class Lab:
    """The lab that the calling process owns.

    Attributes:
        client: the channel of who asked for the lab; its end ends the lab, unless a message on it lets it go on.
        guard_gone: a pipe that closes when the guard ends.
        rootless: the lab lives in a user namespace of its own.
        options: shared (list of folders).
    """

    plan: Plan
    entry: registry.Entry
    client: socket.socket
    guard_gone: int
    rootless: bool
    options: dict[str, Any]

    @property
    def staging(self) -> Path:
        """Where the lab's own files are mounted, in its own mount namespaces."""
        return self.entry.path / "nodes"

    @property
    def shared(self) -> tuple[str, ...]:
        """The machine's folders that nodes see although they lie in folders of their own."""
        return tuple(self.options["shared"])

    def end_if_guard_gone(self) -> None:
        """Without a guard there is nobody to end a lab that hangs, so there is to be no lab."""
        if select.select([self.guard_gone], [], [], 0)[0]:
            self.end()

    def end(self) -> NoReturn:
        """Clear the folder away, lest the guard be killed before it does, and end."""
        try:
            if self.staging.is_mount():
                namespaces.unmount(str(self.staging))  # a mount point cannot be removed where it is one
            registry.remove(self.entry)
        finally:
            os._exit(0)  # whatever could not be cleared away is the guard's to clear
