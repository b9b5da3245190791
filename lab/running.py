"""The objects that a user of a running lab holds: Lab and Node."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from ipaddress import ip_interface
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lab.backends.base import Backend, RunningLab
from lab.backends.netns.client import NetnsBackend
from lab.capture import Capture, arm_all
from lab.errors import UsageError
from lab.faults.model import Fault, FaultState
from lab.plan.model import Plan, PlannedInterface, PlannedNode
from lab.probes import icmp, raw
from lab.process import Completed, Process
from lab.services import start_all

if TYPE_CHECKING:
    from testinfra.host import Host

    from lab.link.instrument import Link
    from lab.services.service import Service


class Lab:
    """A running lab: `lab["web"]` is a node. Leaving it as a context manager takes it down."""

    def __init__(self, running: RunningLab, own_backend: Backend | None = None) -> None:
        """`own_backend` is one that nobody else uses, to be closed with the lab."""
        self.plan: Plan = running.plan
        self.backend = running
        self.captures: list[Capture] = []
        self.processes: list[Process] = []
        self._own_backend = own_backend

    @classmethod
    def up(cls, plan: Plan, backend: Backend | None = None, **options: Any) -> Self:
        """Build a lab and return once it is usable.

        Args:
            backend: one to use for many labs, which is quicker; the namespaces backend by default.
            options: see `lab.backends.base.Backend.up`.

        Raises:
            LabError: it could not be built; nothing is left of it.
        """
        if any(node.services for node in plan.nodes):
            options["settle"] = start_all
        if backend is not None:
            return cls(backend.up(plan, **options))
        own = NetnsBackend()
        try:
            return cls(own.up(plan, **options), own)
        except BaseException:
            own.close()
            raise

    @property
    def name(self) -> str:
        """What other commands find the lab by."""
        return self.plan.name

    @cached_property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes by name, in the file's order."""
        return {node.name: Node(self, node) for node in self.plan.nodes}

    def __getitem__(self, name: str) -> Node:
        try:
            return self.nodes[name]
        except KeyError:
            msg = f'no node named "{name}"; lab "{self.name}" has {", ".join(self.nodes)}'
            raise UsageError(msg) from None

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def capture(self, *targets: str, expression: str = "") -> Capture:
        """Return a capture of "NODE:INTERFACE" or "NODE" targets, of every interface of the lab without any.

        Args:
            expression: a filter in tcpdump's language.

        Raises:
            UsageError: when it is entered: no such node or interface.
        """
        chosen = self.targets(*(targets or self.nodes))
        capture = Capture(lambda: arm_all(self.backend, chosen, expression), self.backend.watch)
        self.captures.append(capture)
        return capture

    def targets(self, *targets: str) -> list[tuple[str, str]]:
        """Return (node, interface) of "NODE:INTERFACE" and "NODE" targets; the latter means all of the node's.

        Raises:
            UsageError: no such node.
        """
        found = []
        for target in targets:
            name, _, interface = target.partition(":")
            node = self[name]
            found += [(name, interface)] if interface else [(name, planned.name) for planned in node.plan.interfaces]
        return found

    def cut(self, *targets: str, carrier: bool = False) -> None:
        """Let nothing pass there any more, as if a cable were broken inside; nobody is told.

        Args:
            targets: "NODE:INTERFACE", a node, or a network; two of them mean what is between: two nodes that share
                a network, or a node and a network. See `lab.faults.places`.
            carrier: let the nodes' interfaces notice, as when a plug is pulled.

        Raises:
            UsageError: the lab has nothing of that name, or the two do not meet.
        """
        self.backend.fault(Fault("cut", targets, carrier))

    def partition(self, *groups: Sequence[str]) -> None:
        """Part groups of nodes: on no network does one of one group reach one of another.

        Raises:
            UsageError: there is no such node, or no network that groups share.
        """
        self.backend.fault(Fault("partition", tuple(",".join(group) for group in groups)))

    def restore(self, *targets: str | Sequence[str]) -> None:
        """Undo the cut of these targets, or the partition of these groups; without any, undo all.

        Raises:
            UsageError: a cut of other targets keeps these apart.
        """
        words = tuple(target if isinstance(target, str) else ",".join(target) for target in targets)
        self.backend.fault(Fault("restore", words))

    def start_timeline(self) -> int:
        """Let the file's timeline begin now; return how many events it has.

        `lab up` starts it by itself. A test does when it is ready, with its captures armed, say.

        Raises:
            UsageError: it has begun already.
        """
        return self.backend.start_timeline()

    def faults(self) -> FaultState:
        """Return what is cut and killed now, and the marks of what was done."""
        return self.backend.faults()

    def down(self) -> None:
        """Take the lab down and return when nothing of it is left."""
        with ExitStack() as ending:  # all of it, whatever fails on the way
            if self._own_backend:
                ending.callback(self._own_backend.close)
            ending.callback(self.backend.down)
            for process in self.processes:
                ending.callback(process.close)
            self.processes.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()


class Node:
    """A host or router of a running lab."""

    def __init__(self, lab: Lab, plan: PlannedNode) -> None:
        self.lab = lab
        self.plan = plan
        self.name = plan.name

    def interface(self, network: str | None = None) -> PlannedInterface:
        """Return the interface on a network; the only one if none is named.

        Raises:
            UsageError: the node is not on that network, or on several and none is named.
        """
        found = [one for one in self.plan.interfaces if network in (None, one.network)]
        if len(found) != 1:
            networks = ", ".join(one.network for one in self.plan.interfaces) or "no network"
            msg = f'"{self.name}" is on {networks}; ' + (
                f'not on "{network}"' if network else "name the network that you mean"
            )
            raise UsageError(msg)
        return found[0]

    def address(self, network: str | None = None, *, version: int = 4) -> str:
        """Return the node's address on a network, without prefix length.

        Args:
            version: 4 or 6.

        Raises:
            UsageError: it has none there.
        """
        interface = self.interface(network)
        for address in map(ip_interface, interface.addresses):
            if address.version == version:
                return str(address.ip)
        msg = f'"{self.name}" has no IPv{version} address on "{interface.network}"'
        raise UsageError(msg)

    @cached_property
    def services(self) -> Mapping[str, Service]:
        """The node's services by name, in the file's order."""
        from lab.services.service import services_of  # noqa: PLC0415 - slow to import, and many labs have none

        return {name: service for (node, name), service in services_of(self.lab.backend).items() if node == self.name}

    def link(self, network: str | None = None) -> Link:
        """Return the programmable wire (`wire: true`) to a network; the only one if none is named.

        The first call takes the frames of all wires of the lab into this process, until the lab is down.

        Raises:
            UsageError: the interface is no wire, or another program has the lab's wires.
        """
        return self.lab.backend.link(self.name, self.interface(network).name)

    def impair(
        self,
        network: str | None = None,
        *,
        out: Mapping[str, Any] | None = None,
        incoming: Mapping[str, Any] | None = None,
        **both: Any,
    ) -> None:
        """Change what happens to frames on the way to a network and back; it replaces what there was.

            client.impair("lan", delay="10ms", out={"loss": "1%"})
            client.impair("lan")

        Args:
            out: what is different for frames that the node sends, as in a topology file.
            incoming: for those that it is sent.
            both: delay, jitter, rate, queue, loss, duplicate, reorder, corrupt.

        Raises:
            UsageError: an unknown impairment, or a value that makes no sense.
            NotSupportedError: this kernel cannot do it on an interface that is no wire.
        """
        from lab.plan.impairments import from_settings  # noqa: PLC0415 - slow to import: it has pydantic behind it

        interface = self.interface(network)
        directions = {key: value for key, value in (("out", out), ("in", incoming)) if value is not None}
        self.lab.backend.impair(self.name, interface.name, *from_settings({**both, **directions}, interface.mtu))

    def start(self, *arguments: str, **options: Any) -> Process:
        """Start a program in the node; it is stopped with the lab at the latest.

        Args:
            options: see `lab.process.Process`.

        Raises:
            UsageError: there is no such program.
        """
        process = Process(self.lab.backend, self.plan, arguments, **options)
        self.lab.processes.append(process)
        return process

    def run(self, *arguments: str, timeout: float = 30.0, **options: Any) -> Completed:
        """Run a program in the node to its end, whatever its exit code.

        Args:
            timeout: seconds.
            options: see `lab.process.Process`.

        Raises:
            UsageError: there is no such program.
            WaitTimeoutError: it took too long, and was stopped.
        """
        with Process(self.lab.backend, self.plan, arguments, **options) as process:
            return process.wait(timeout)

    def ping(
        self, destination: str, *, count: int = 1, interval: float = 0.0, size: int = 56, timeout: float = 3.0
    ) -> icmp.Pings:
        """Send ICMP echo requests; see `lab.probes.icmp.ping`."""
        with self.socket(*icmp.open_socket_arguments(destination)) as channel:
            return icmp.ping(channel, destination, count=count, interval=interval, size=size, timeout=timeout)

    def capture(self, *interfaces: str, expression: str = "") -> Capture:
        """Return a capture of the node's interfaces, all of them if none is named; see `Lab.capture`."""
        targets = [f"{self.name}:{interface}" for interface in interfaces] or [self.name]
        return self.lab.capture(*targets, expression=expression)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Return a socket of the node's, to be used from here; the caller closes it."""
        return self.lab.backend.socket(self.name, family, kind, protocol)

    def send_packet(self, packet: bytes) -> None:
        """Send an IPv4 packet made by hand (`lab.probes.raw`), whatever source address it claims."""
        with self.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as channel:
            raw.send_packet(channel, packet)

    def kill(self) -> None:
        """Let the node lose its power: its programs end, and its interfaces fall silent, without a word to anybody.

        Nothing is started in it until it boots; `lab exec` still opens a way in, to a machine without a network.

        Raises:
            NotSupportedError: this machine's kernel cannot make it forget its connections.
        """
        self.lab.backend.fault(Fault("kill", (self.name,)))

    def boot(self) -> None:
        """Give a killed node its power back: the plan's addresses and routes, and the services that ran.

        It knows nothing of connections of before, and answers them with a reset. A node that was not killed stays
        as it is.

        Raises:
            LabError: a service ends, or does not become ready in time.
        """
        self.lab.backend.fault(Fault("start", (self.name,)))
        if self.plan.services:
            from lab.services.start import await_ready  # noqa: PLC0415 - slow to import, and many nodes have none

            await_ready(self.lab.backend, self.name)

    def sysctl(self, key: str, value: str | int | None = None) -> str:
        """Return a sysctl ("net.ipv4.ip_forward"), after setting it if there is a value.

        Raises:
            UsageError: no such key, or a value that the kernel refuses.
        """
        return self.lab.backend.sysctl(self.name, key, None if value is None else str(value))

    def route_to(self, destination: str) -> dict[str, Any]:
        """Return the route that a packet to this address takes now, as `ip -json route get` tells it."""
        found: list[dict[str, Any]] = json.loads(self.run("ip", "-json", "route", "get", destination).check().stdout)
        return found[0]

    @cached_property
    def testinfra(self) -> Host:
        """The node as a testinfra host."""
        from lab.host import testinfra_host  # noqa: PLC0415 - slow to import, and few need it

        return testinfra_host(self.lab.backend, self.plan)
