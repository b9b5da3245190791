"""A running service: its log, its state, stop and restart."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from lab.backends.base import RunningLab, RunningProcess, ServiceStatus
from lab.command import search_path
from lab.errors import CommandError, MissingToolError, UsageError, WaitTimeoutError
from lab.netlink.sockdiag import NETLINK_SOCK_DIAG, sockets
from lab.plan.model import PlannedNode, PlannedService
from lab.services.kind import Kind, Place, Port, Program
from lab.services.state import ending
from lab.services.table import Kinds
from lab.spec.quoting import harmless
from lab.wait import wait_until

READY_WITHIN = 10.0  # seconds
_STOPS_WITHIN = 5.0
_LAST_LINES = 10
_MOST_SHOWN = 4000  # bytes


class Service:
    """A service of a running lab, started or not: `lab["web"].services["nginx"]`."""

    def __init__(self, lab: RunningLab, node: PlannedNode, planned: PlannedService) -> None:
        self._lab = lab
        self._node = node
        self.planned = planned
        self.node = node.name
        self.name = planned.name

    def __str__(self) -> str:
        return f"{self.node}: {self.name}"

    @cached_property
    def kind(self) -> Kind:
        """Its options.

        Raises:
            UsageError: there is no such kind of service, or it has no such options.
        """
        model = Kinds().get(self.planned.kind)
        if model is None:
            msg = f'{self.node}: unknown service "{self.planned.kind}"; there are {", ".join(Kinds())}'
            raise UsageError(msg)
        try:
            return model.model_validate(self.planned.options)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            msg = f"{self}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise UsageError(msg) from error

    @cached_property
    def program(self) -> Program:
        """What runs."""
        folder = Path(self._lab.source).parent if self._lab.source else Path("/")
        lab = self._lab
        return self.kind.program(Place(lab.plan, self._node, self.name, self.planned.kind, folder, lab.folder))

    @property
    def log(self) -> Path:
        """The file with all that it has written; there from its first start to the lab's end."""
        return self._lab.folder / "logs" / self.node / f"{self.name}.log"

    @property
    def status(self) -> ServiceStatus | None:
        """How it is; None if it was never started."""
        return next((one for one in self._lab.services() if (one.node, one.name) == (self.node, self.name)), None)

    def check(self) -> str:
        """Return the path of its program, if it can be started here.

        Raises:
            MissingToolError: its program is not installed; says how to get it.
            UsageError: as `kind`.
        """
        tool = self.program.arguments[0]
        found = self._lab.find(self.node, tool, self._environment()["PATH"])
        if found:
            return found
        if self.kind.package:
            msg = f"{self}: {tool} is not installed; install it: apt-get install {self.kind.package}"
            raise MissingToolError(msg)
        msg = f"{self}: there is no program {tool}"
        raise MissingToolError(msg)

    def start(self) -> RunningProcess:
        """Start it, and do not wait until it is ready.

        Raises:
            UsageError: a port of its is taken, or its program cannot be run.
            MissingToolError: it is not installed.
        """
        program = self.program
        tool = self.check()
        taken = [str(port) for port in program.ports if self._is_open(port)]
        if taken:
            msg = f"{self}: {taken[0]} is taken already; {self._suspects()}"
            raise UsageError(msg)
        if program.unprivileged:  # it is to listen below 1024 all the same
            self._lab.sysctl(self.node, "net.ipv4.ip_unprivileged_port_start", "0")
        for node in self._lab.plan.nodes if program.shared else ():
            self._lab.write(node.name, program.shared)
        self._lab.write(self.node, program.files)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log, Path(os.devnull).open("rb") as nothing:
            return self._lab.spawn(
                self.node,
                [tool, *program.arguments[1:]],
                environment={**self._environment(), **program.environment},
                cwd=program.cwd,
                files=(nothing.fileno(), log.fileno(), log.fileno()),
                service=self.name,
                unprivileged=program.unprivileged,
            )

    def is_ready(self, process: RunningProcess) -> bool:
        """Whether it listens on all of its ports.

        Raises:
            CommandError: it has ended; carries the end of its log.
        """
        ready = all(self._is_open(port) for port in self.program.ports)
        code = process.wait(0)
        if code is not None:
            msg = f"{self}: {ending(code)} before it was ready; {self.last_words()}"
            raise CommandError(msg)
        return ready

    def never_ready(self, waited: float) -> WaitTimeoutError:
        """Return the error that says so."""
        closed = ", ".join(str(port) for port in self.program.ports if not self._is_open(port))
        msg = f"{self}: not ready after {waited:g} s: nothing listens on {closed}; {self.last_words()}"
        return WaitTimeoutError(msg)

    def wait_ready(self, process: RunningProcess, timeout: float = READY_WITHIN) -> None:
        """Return once it is ready.

        Raises:
            CommandError: it ended before.
            WaitTimeoutError: it is not ready in time; both carry the end of its log.
        """
        try:
            wait_until(lambda: self.is_ready(process), timeout=timeout, what=str(self))
        except WaitTimeoutError as error:
            raise self.never_ready(timeout) from error

    def stop(self) -> None:
        """End it, with all that it has started."""
        with closing(self._lab.follow(self.node, self.name)) as process:
            process.signal(self.kind.stop_signal)
            if process.wait(_STOPS_WITHIN) is None:
                process.signal(signal.SIGKILL)
                process.wait(_STOPS_WITHIN)

    def signal(self, number: int) -> None:
        """Send it a signal; with one that ends a program it counts as stopped, and not as died."""
        with closing(self._lab.follow(self.node, self.name)) as process:
            process.signal(number)

    def restart(self) -> None:
        """Stop it if it runs, start it as it was started before, and return once it is ready.

        Raises:
            CommandError: it ended instead.
            WaitTimeoutError: it was not ready in time.
        """
        self.stop()
        with closing(self._lab.respawn(self.node, self.name)) as process:
            self.wait_ready(process)

    def last_words(self) -> str:
        """Return the end of its log, as an error shows it."""
        with self.log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MOST_SHOWN))
            lines = file.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
        if not lines:
            return "it wrote nothing"
        return "\n".join(["its log ends:", *(f"    {harmless(line)}" for line in lines)])

    def _environment(self) -> dict[str, str]:
        return {"PATH": search_path(), "HOME": "/run", "LC_ALL": "C.UTF-8", **dict(self._node.environment)}

    def _suspects(self) -> str:
        """Say who may have a port of its; a lab that fails to come up is gone before anybody can look."""
        running = [one.name for one in self._lab.services() if one.node == self.node and one.exit_code is None]
        if running:
            return f"services that run in {self.node}: {', '.join(running)}"
        return f"lab exec {self.node} -- ss -lntup shows by what"

    def _is_open(self, port: Port) -> bool:
        with self._lab.socket(self.node, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as channel:
            table = sockets(channel, port.protocol)
        return any(one.takes_strangers and one.local[1] == port.number for one in table)


def services_of(lab: RunningLab) -> Mapping[tuple[str, str], Service]:
    """Return the services of a lab by (node, service), in the plan's order."""
    return {
        (node.name, planned.name): Service(lab, node, planned) for node in lab.plan.nodes for planned in node.services
    }


def services_in(lab: RunningLab, node: str) -> Mapping[str, Service]:
    """Return the services of a node by name.

    Raises:
        UsageError: there is no such node, or it has no services.
    """
    names = [planned.name for planned in lab.plan.nodes]
    if node not in names:
        msg = f'no node named "{node}"; lab "{lab.plan.name}" has {", ".join(names)}'
        raise UsageError(msg)
    found = {service.name: service for service in services_of(lab).values() if service.node == node}
    if not found:
        having = ", ".join(planned.name for planned in lab.plan.nodes if planned.services) or "none"
        msg = f'"{node}" has no services; nodes that have: {having}'
        raise UsageError(msg)
    return found


def service_of(lab: RunningLab, node: str, name: str) -> Service:
    """Return a service.

    Raises:
        UsageError: there is no such node or service.
    """
    found = services_in(lab, node)
    if name not in found:
        msg = f'"{node}" has no service "{name}"; it has {", ".join(found)}'
        raise UsageError(msg)
    return found[name]


def crashed(lab: RunningLab) -> list[str]:
    """Return, for each service that has ended without having been asked to, how it did and what it said last."""
    services = services_of(lab)
    found = []
    for status in lab.services():
        if status.exit_code is not None and not status.stopped:
            service = services[status.node, status.name]
            found.append(f"{service}: {ending(status.exit_code)}; {service.last_words()}")
    return found
