"""What stands after a build: the namespaces of a lab, and how a process gets into them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.backends.owned.links import Links
from lab.errors import BackendError, UsageError
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The namespaces of one node, or of the lab itself (its network namespace holds the switches): descriptors.

    Attributes:
        keepers: processes that keep the node there and are no programs of it.
    """

    net: int
    mount: int
    uts: int
    ipc: int
    keepers: frozenset[int] = frozenset()

    def enter(self) -> None:
        """Move the calling thread into all four."""
        namespaces.enter(self.net, Clone.NET)
        namespaces.enter(self.uts, Clone.UTS)
        namespaces.enter(self.ipc, Clone.IPC)
        namespaces.enter(self.mount, Clone.MOUNT)

    def become_program(self) -> None:
        """Make the calling process, a child of the owner, one of the node's programs."""
        self.enter()

    def confine(self) -> None:
        """Take from such a process, when all else is done, what the node's programs may not do."""

    @contextmanager
    def bearing(self) -> Iterator[None]:
        """Let the children that the calling process has in the block be born where the node's programs are."""
        yield

    @contextmanager
    def configured(self, home: Namespaces) -> Iterator[None]:
        """Be, for the block, where the node's network is configured: among its interfaces, with its own /proc/sys."""
        with namespaces.entered(self.net, Clone.NET, home.net), namespaces.entered(self.mount, Clone.MOUNT, home.mount):
            yield

    def shown(self, process: int) -> int:
        """Return the number by which a program of the node, a process of the calling one's /proc, is known in it.

        Raises:
            ProcessLookupError: it is no program of the node, or has ended.
        """
        return process


@dataclass(frozen=True, slots=True)
class Built:
    """What stands after a build."""

    home: Namespaces
    nodes: dict[str, Namespaces]
    links: Links

    def node(self, name: str) -> Namespaces:
        """Return the namespaces of a node.

        Raises:
            UsageError: there is none of that name; names those that there are.
        """
        try:
            return self.nodes[name]
        except KeyError:
            msg = f'no node named "{name}"; this lab has {", ".join(self.nodes)}'
            raise UsageError(msg) from None


def current(folder: int) -> Namespaces:
    """Return those of the calling thread.

    Args:
        folder: from `namespaces.own_folder`.
    """
    net, mount, uts, ipc = (namespaces.current(kind, folder) for kind in (Clone.NET, Clone.MOUNT, Clone.UTS, Clone.IPC))
    return Namespaces(net, mount, uts, ipc)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say which step it was that the kernel refused."""
    try:
        yield
    except OSError as error:
        msg = f"{name}: {error.strerror or error}"
        raise BackendError(msg) from error
    except BackendError as error:
        msg = f"{name}: {error}"
        raise BackendError(msg) from error
