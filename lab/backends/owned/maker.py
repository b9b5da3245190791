"""What is different between backends whose labs have owners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lab.backends.owned.built import Built
from lab.backends.owned.ownership import Lab
from lab.backends.owned.registry import Entry


class Maker(Protocol):
    """Makes labs, in their guards and owners."""

    @property
    def name(self) -> str:
        """The backend's, as in `--backend`."""

    def set_apart(self) -> bool:
        """Prepare the guard for its child, the owner; return whether that took a user namespace.

        Raises:
            NotSupportedError: this user or machine cannot have such labs.
        """

    def build(self, lab: Lab, on_step: Callable[[str], None]) -> Built:
        """Build the lab, in its owner, and leave it in the lab's home namespaces.

        Args:
            on_step: called with the name of each step before it is taken.

        Raises:
            LabError: it cannot be built.
        """

    def entrance(self, lab: Lab, built: Built, owner: int) -> str:
        """Return the text of the script that runs a program in a node; see `lab.backends.owned.registry`.

        Args:
            owner: the owner's process id on the machine.
        """

    def clear_before(self, lab: Lab) -> None:
        """Clear away what the owner, which is about to end, must not leave to its guard."""

    def clear_after(self, entry: Entry) -> None:
        """Clear away what an owner, which has ended, left behind."""
