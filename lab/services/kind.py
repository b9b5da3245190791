"""What a kind of service is."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from lab.errors import UsageError
from lab.netlink.sockdiag import Protocol
from lab.plan.model import Plan, PlannedNode


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a service listens on."""

    protocol: Protocol
    number: int

    def __str__(self) -> str:
        return f"{self.protocol} port {self.number}"


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how to tell that it is ready.

    Attributes:
        arguments: the first is a program's name or path.
        files: text by path; written before it starts.
        shared: the same, for every node of the lab: keys that clients need, say.
        ports: it is ready when it listens on all of them.
        environment: on top of the node's.
        cwd: the folder that it starts in.
        unprivileged: see `lab.backends.base.RunningLab.spawn`.
    """

    arguments: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    unprivileged: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service runs.

    Attributes:
        service: its name in the node.
        kind: what the file calls this kind of service.
        folder: the topology file's, for paths in it.
        keep: a folder of this machine that goes with the lab.
    """

    plan: Plan
    node: PlannedNode
    service: str
    kind: str
    folder: Path
    keep: Path

    @property
    def home(self) -> str:
        """A folder of the service's own in the node; it is there if the service has a file in it."""
        return f"/run/services/{self.service}"

    @property
    def resolver(self) -> str | None:
        """The node's DNS server."""
        words = self.node.resolv_conf.split()
        return words[1] if words[:1] == ["nameserver"] else None

    def addresses_of(self, host: str) -> list[str]:
        """Return the addresses of a node (on a network that this one is on as well, if there is one), or an address.

        Raises:
            UsageError: there is no such node, or it has no address.
        """
        if _is_address(host):
            return [host]
        node = next((node for node in self.plan.nodes if node.name == host), None)
        own = {interface.network for interface in self.node.interfaces}
        interfaces = sorted(node.interfaces if node else (), key=lambda interface: interface.network not in own)
        found = [str(ip_interface(address).ip) for interface in interfaces for address in interface.addresses]
        if not found:
            problem = f'no node named "{host}"' if node is None else f'node "{host}" has no address'
            names = ", ".join(node.name for node in self.plan.nodes)
            msg = f"{self.node.name}: {self.service}: {problem}; this lab has {names}"
            raise UsageError(msg)
        return found

    def path(self, path: str) -> str:
        """Return a path of the topology file, which begins at the file's own folder, as an absolute one."""
        return str(self.folder / path)


class Kind(BaseModel, ABC):
    """One kind of service: its options, and what they come to.

    Attributes:
        package: the Debian package that has its program; empty if none is known.
        stop_signal: what ends it.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    package: ClassVar[str] = ""
    stop_signal: ClassVar[int] = signal.SIGTERM

    @abstractmethod
    def program(self, place: Place) -> Program:
        """Return what to run.

        Raises:
            LabError: the options do not fit the lab.
        """


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
