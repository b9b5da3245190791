"""What happens to frames on the links of a running lab, as its owner changes it."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field, replace

from lab.backends.owned import links
from lab.backends.owned.built import Built
from lab.backends.owned.wires import Spanned, Wires
from lab.errors import BackendError, UsageError
from lab.netlink import rtnetlink
from lab.plan.model import Impairment, Plan, PlannedInterface


@dataclass(slots=True)
class Impairments:
    """The links of a lab, of both sorts: what the kernel impairs, and wires."""

    plan: Plan
    built: Built
    selector: InitVar[selectors.BaseSelector]
    wires: Wires = field(init=False)

    def __post_init__(self, selector: selectors.BaseSelector) -> None:
        def watch(channel: socket.socket, action: Callable[[], None]) -> None:
            selector.register(channel, selectors.EVENT_READ, action)

        spanned = [
            Spanned(node, name, ends, self._planned(node, name).out, self._planned(node, name).incoming)
            for (node, name), ends in self.built.links.wires.items()
        ]
        self.wires = Wires(self.plan, spanned, watch, selector.unregister)

    def start(self) -> None:
        """Let frames pass."""
        self.wires.start()

    def change(self, node: str, name: str, out: Impairment | None, incoming: Impairment | None) -> list[int]:
        """Change what happens on a link from now on; it replaces what there was.

        Returns:
            Pipes, one or none, that close when it has been done.

        Raises:
            UsageError: no such node or interface.
            NotSupportedError: this kernel cannot do it on an interface that is no wire.
            BackendError: the kernel refuses.
        """
        interface = self._planned(node, name)
        if self.wires.has(node, name):
            return [self.wires.impair(node, name, out, incoming)]
        with rtnetlink.open_socket() as channel:
            switches = links.Switches(self.plan, self.built.nodes, self.built.home.net, channel)
            try:
                links.impair(switches, node, replace(interface, out=out, incoming=incoming))
            except OSError as error:
                msg = f"{node}:{name}: cannot be impaired: {error.strerror}"
                raise BackendError(msg) from error
        return []

    def _planned(self, node: str, name: str) -> PlannedInterface:
        planned = next((one for one in self.plan.nodes if one.name == node), None)
        if planned is None:
            msg = f'no node named "{node}"; this lab has {", ".join(one.name for one in self.plan.nodes)}'
            raise UsageError(msg)
        for interface in planned.interfaces:
            if interface.name == name:
                return interface
        has = ", ".join(one.name for one in planned.interfaces) or "none"
        msg = f'"{node}" has no interface "{name}"; it has {has}'
        raise UsageError(msg)
