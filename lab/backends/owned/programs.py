"""The programs that run in the nodes of a lab: its owner starts and signals them, and takes their exit codes."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass, field
from typing import Any

from lab import command
from lab.backends.owned import files, messages, resources
from lab.backends.owned.built import Built
from lab.backends.owned.services import Services
from lab.errors import UsageError
from lab.netlink import namespaces

_CANNOT_RUN = 126  # a shell's exit code for a program that is there and cannot be run


@dataclass(slots=True)
class Programs:
    """All programs of a lab.

    Attributes:
        children: process id (as the owner sees it) to its program and the connection that waits for it.
        services: those of them that are services, and those that were.
    """

    built: Built
    children: dict[int, tuple[subprocess.Popen[bytes], socket.socket | None]] = field(default_factory=dict)
    services: Services = field(default_factory=Services)

    def spawn(
        self, body: dict[str, Any], descriptors: tuple[int, ...], connection: socket.socket | None
    ) -> dict[str, Any]:
        """Start what the request asks for.

        Args:
            descriptors: its stdin, stdout and stderr.
            connection: who hears of its end; None for a program whose end nobody waits for.

        Raises:
            UsageError: no such node, or it cannot be run there.
        """
        node = self.built.node(body["node"])
        stdin, stdout, stderr = descriptors

        def enter() -> None:
            node.become_program()
            resources.restore_limits()
            try:
                os.chdir(body["cwd"])
            except OSError as error:
                os.write(2, f"lab: {body['cwd']}: {error.strerror} (in node {body['node']})\n".encode())
                os._exit(_CANNOT_RUN)
            if body["unprivileged"]:
                namespaces.become_nobody_in_particular(files.SERVICE_USER)
            node.confine()

        try:
            with node.bearing():
                program = command.start(
                    body["arguments"],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    environment=body["environment"],
                    before_exec=enter,
                )
        except OSError as error:
            msg = f"{body['node']}: cannot run {body['arguments'][0]}: {error.strerror}"
            raise UsageError(msg) from error
        self.children[program.pid] = (program, connection)
        if body["service"]:
            self.services.remember(body, descriptors, program.pid, node.shown(program.pid))
        return {"pid": node.shown(program.pid)}

    def answer_of_services(self, body: dict[str, Any], connection: socket.socket) -> dict[str, Any]:
        """Answer a request that is about services: services, follow or respawn."""
        if body["do"] == "services":
            self.reap()
            return {"services": self.services.status()}
        if body["do"] == "respawn":
            ended = self.services.ended(body)
            return self.spawn(ended.request, ended.descriptors, connection)
        service = self.services.get(body)
        service.followers.append(connection)
        return {"pid": service.shown, "exit": service.exit_code}

    def signal(self, number: int, connection: socket.socket) -> dict[str, Any]:
        """Signal the process group of this connection's process; one that has ended gets none."""
        own = {pid for pid, (_program, waiter) in self.children.items() if waiter is connection}
        for pid in self.services.signal(own, number, connection):
            os.killpg(pid, number)
        return {}

    def reap(self) -> None:
        """Take the exit codes of all who have ended, children of our children too: process 1 inherits them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.children:
                program, connection = self.children.pop(pid)
                program.returncode = os.waitstatus_to_exitcode(status)
                for waiter in (connection, *self.services.note_end(pid, program.returncode)):
                    if waiter:
                        messages.offer(waiter, {"exit": program.returncode})

    def lose_power(self, node: str) -> None:
        """Note that the node's programs have ended, and that its services were meant to."""
        self.services.lose_power(node)
        self.reap()

    def start_lost(self, node: str) -> None:
        """Start the services again that ran when the node was killed; nobody waits for their end."""
        for service in self.services.take_lost(node):
            self.spawn(service.request, service.descriptors, None)
