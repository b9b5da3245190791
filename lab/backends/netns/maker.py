"""Makes labs of Linux namespaces: see `lab.backends.owned.maker.Maker`."""

from __future__ import annotations

from collections.abc import Callable

from lab.backends.netns import entrance
from lab.backends.netns.build import build
from lab.backends.owned import registry
from lab.backends.owned.built import Built
from lab.backends.owned.ownership import Lab
from lab.errors import NotSupportedError
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone


class NetnsMaker:
    """The owner is process 1 of the lab's PID namespace: when it ends, the kernel takes everything down."""

    name = "netns"

    def set_apart(self) -> bool:
        """Make the next child process 1 of a new PID namespace; say whether that took a user namespace.

        Raises:
            NotSupportedError: this user may not; says what would allow it.
        """
        try:
            try:
                namespaces.unshare(Clone.PID)
            except PermissionError:
                namespaces.become_root_of_user_namespace()
                namespaces.unshare(Clone.PID)
                return True
        except OSError as error:
            msg = f"this user may not make namespaces ({error.strerror}); `lab doctor` says what would allow it"
            raise NotSupportedError(msg) from error
        return False

    def build(self, lab: Lab, on_step: Callable[[str], None]) -> Built:
        """Build the lab."""
        return build(lab.plan, lab.staging, lab.shared, on_step)

    def entrance(self, lab: Lab, built: Built, owner: int) -> str:
        """Return the text of the script that runs a program in a node."""
        return entrance.script(lab.plan, built.nodes, lab.shared, owner, rootless=lab.rootless)

    def clear_before(self, lab: Lab) -> None:
        """Clear the folder away, lest the guard be killed before it does."""
        if lab.staging.is_mount():
            namespaces.unmount(str(lab.staging))  # a mount point cannot be removed where it is one
        registry.remove(lab.entry)

    def clear_after(self, entry: registry.Entry) -> None:
        """Clear the folder away."""
        registry.remove(entry)
