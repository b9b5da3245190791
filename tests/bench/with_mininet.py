"""The peer that people teach with: Mininet, as Debian packages it; run by the system's Python.

Run in network, mount and PID namespaces of its own: Mininet builds its switch where it stands.
"""

from __future__ import annotations

import functools
import resource
import sys
from typing import TYPE_CHECKING, Any

from mininet.net import Mininet  # type: ignore[import-not-found]  # the system's, not ours
from mininet.node import Switch  # type: ignore[import-not-found]  # the system's, not ours
from mininet.topo import Topo  # type: ignore[import-not-found]  # the system's, not ours

from tests.bench.protocol import contend

if TYPE_CHECKING:
    from collections.abc import Callable


class _Bridge(Switch):  # type: ignore[misc]  # Mininet has no types
    """The kernel's bridge, by `ip`: Mininet's own class wants brctl, which its package does not bring."""

    def start(self, _controllers: list[Any]) -> None:
        self.cmd("ip link add", self.name, "type bridge")
        for interface in self.intfList():
            if interface.name.startswith(self.name):
                self.cmd("ip link set", interface.name, "master", self.name, "up")
        self.cmd("ip link set", self.name, "up")

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: FBT001, FBT002, N803  # the base class' signature
        self.cmd("ip link del", self.name)
        super().stop(deleteIntfs)


class _OneSwitch(Topo):  # type: ignore[misc]  # as above
    """One switch and `hosts` hosts, each with a default route."""

    def build(self, hosts: int) -> None:
        switch = self.addSwitch("s1")
        for number in range(1, hosts + 1):
            self.addLink(self.addHost(f"h{number}", defaultRoute="via 10.255.255.254"), switch)


def _up(hosts: int) -> Callable[[], None]:
    net = Mininet(topo=_OneSwitch(hosts), switch=_Bridge, controller=None)
    net.start()
    stop: Callable[[], None] = net.stop
    return stop


def main(hosts: int) -> None:
    Mininet.inited = True  # else it raises sysctls of the whole machine
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    contend(functools.partial(_up, hosts))


if __name__ == "__main__":
    main(int(sys.argv[1]))
