"""A node of a running lab, as a user holds it."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

from lab.capture import Capture
from lab.errors import CommandError, UsageError
from lab.faults.model import Fault
from lab.netlink import sockdiag
from lab.plan.model import PlannedInterface, PlannedNode
from lab.probes import counters, icmp, raw
from lab.process import Completed, Process
from lab.wait import wait_until

if TYPE_CHECKING:
    from testinfra.host import Host

    from lab.link.instrument import Link
    from lab.running import Lab
    from lab.services.service import Service


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

    def deploy(self, program: str, *arguments: str, port: int = 80, **options: Any) -> Process:
        """Start one of the project's servers (`lab.servers`) and return it as soon as it listens.

        Args:
            arguments: beside `--port`.
            options: see `lab.process.Process`.

        Raises:
            MissingToolError: it is not built.
            CommandError: it ended instead; carries what it said.
            WaitTimeoutError: it does not listen in time.
        """
        process = self.start(self.lab.program(program), "--port", str(port), *arguments, **options)
        self.wait_listening(port, process)
        return process

    def wait_listening(self, port: int, process: Process | None = None, *, timeout: float = 10.0) -> None:
        """Return once a TCP socket of the node listens on a port.

        It is seen in the kernel's socket table: a server that counts its connections never meets the harness.

        Args:
            process: the program that is to listen.
            timeout: seconds.

        Raises:
            CommandError: the program has ended.
            WaitTimeoutError: nothing listens in time.
        """

        def listens() -> bool:
            if any(one.state == "LISTEN" and one.local[1] == port for one in self.sockets()):
                return True
            if process is not None and process.exit_code is not None:
                ended = process.wait()
                msg = f"{self.name}: {' '.join(ended.arguments)} ended with {ended.exit_code} instead of listening: "
                raise CommandError(msg + (ended.stderr.strip() or "it wrote nothing"))
            return False

        wait_until(listens, timeout=timeout, what=f"{self.name} to listen on port {port}")

    def sockets(self, protocol: sockdiag.Protocol = "tcp") -> list[sockdiag.Socket]:
        """Return the kernel's table of the node's sockets.

        Raises:
            NotSupportedError: this kernel cannot tell.
        """
        with self.socket(socket.AF_NETLINK, socket.SOCK_RAW, sockdiag.NETLINK_SOCK_DIAG) as channel:
            return sockdiag.sockets(channel, protocol)

    def counters(self) -> dict[str, int]:
        """Return what the node's kernel has counted, by the names that nstat(8) has: "TcpExtListenOverflows"."""
        return counters.parsed(self.run("cat", "/proc/net/netstat", "/proc/net/snmp").check().stdout)

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

    def connect(self, address: str, port: int, timeout: float = 5.0, *, receive_buffer: int = 0) -> socket.socket:
        """Return a TCP connection from the node, with `timeout` seconds for each call on it; the caller closes it.

        Args:
            receive_buffer: bytes (SO_RCVBUF), if not as many as the kernel thinks right. With little room here, most
                of what is on its way waits at the other end.

        Raises:
            OSError: it cannot be made.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        connection = self.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.connect((address, port))
        except BaseException:
            connection.close()
            raise
        return connection

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
