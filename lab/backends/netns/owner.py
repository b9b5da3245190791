"""The owner of one lab: process 1 of the lab's PID namespace, holder of all its namespaces, parent of its processes.

It does what clients ask over its socket, one request after the other, and ends when it is told to, when the
client that it was started for goes (unless the lab is detached), or when its guard goes.
"""

from __future__ import annotations

import gc
import os
import select
import selectors
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lab import command
from lab.backends.netns import entrance, messages, registry, resources
from lab.backends.netns.build import Built, Namespaces, build
from lab.errors import LabError, UsageError
from lab.netlink import namespaces, sysctl
from lab.netlink.namespaces import Clone
from lab.plan.model import Plan

_CANNOT_RUN = 126  # a shell's exit code for a program that is there and cannot be run


@dataclass(frozen=True, slots=True)
class Lab:
    """What the guard hands to the owner.

    Attributes:
        client: the channel of who asked for the lab; its end ends the lab, unless it is detached.
        guard_gone: a pipe that closes when the guard ends.
        rootless: the lab lives in a user namespace of its own.
        options: detached (bool), shared (list of folders).
    """

    plan: Plan
    entry: registry.Entry
    client: socket.socket
    guard_gone: int
    rootless: bool
    options: dict[str, Any]

    @property
    def staging(self) -> Path:
        """Where the lab's own files are mounted, in its own mount namespaces."""
        return self.entry.path / "nodes"

    def run(self) -> None:
        """Build the lab, tell the client, and serve; never returns."""
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        for not_for_us in (signal.SIGINT, signal.SIGHUP):
            signal.signal(not_for_us, lambda *_: None)  # SIG_IGN would be inherited by every program of the lab
        own_process = int(Path("/proc/self").readlink().name)  # the machine's number, as /proc still is the machine's
        resources.allow_many_descriptors()
        packet_clock = resources.packet_clock()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        gc.disable()  # building makes many objects and no rubbish, and the collector would look through all of them
        try:
            built = build(self.plan, self.staging, tuple(self.options["shared"]), self._on_step)
            text = entrance.script(
                self.plan, built.nodes, tuple(self.options["shared"]), own_process, rootless=self.rootless
            )
            registry.write(self.entry, entrance.FILE, text, 0o700)
            listener = registry.listen(self.entry)
            gc.enable()
            messages.send(self.client, {"ready": True})
            if self.options["detached"]:
                messages.receive(self.client)  # its word that it knows; one that was killed meanwhile has no lab
        except LabError as error:
            messages.send(self.client, messages.describe(error))
            return
        except messages.ConnectionLostError:
            return
        if self.options["detached"]:
            self.client.close()
        with packet_clock:
            Service(self, built, listener).serve()

    def end_if_guard_gone(self) -> None:
        """Without a guard there is nobody to end a lab that hangs, so there is to be no lab."""
        if select.select([self.guard_gone], [], [], 0)[0]:
            self.end()

    def end(self) -> NoReturn:
        """Clear the folder away, lest the guard be killed before it does, and end."""
        if self.staging.is_mount():
            namespaces.unmount(str(self.staging))  # a mount point cannot be removed where it is one
        registry.remove(self.entry)
        os._exit(0)

    def _on_step(self, name: str) -> None:
        self.end_if_guard_gone()
        messages.send(self.client, {"step": name})


@dataclass(slots=True)
class Service:
    """The running owner.

    Attributes:
        children: process id (in the lab's PID namespace) to its program and the connection that waits for it.
    """

    lab: Lab
    built: Built
    listener: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    children: dict[int, tuple[subprocess.Popen[bytes], socket.socket]] = field(default_factory=dict)

    def serve(self) -> None:
        """Answer requests for ever."""
        wakened, waker = socket.socketpair()
        waker.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        signal.set_wakeup_fd(waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        watched: list[tuple[Any, Callable[[], None]]] = [
            (self.listener, self._accept),
            (wakened, lambda: self._reap(wakened)),
            (self.lab.guard_gone, self.lab.end_if_guard_gone),
        ]
        if not self.lab.options["detached"]:
            watched.append((self.lab.client, self.lab.end))
        for source, action in watched:
            self.selector.register(source, selectors.EVENT_READ, action)
        while True:
            for key, _events in self.selector.select():
                key.data()

    def _accept(self) -> None:
        connection, _address = self.listener.accept()
        connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        self.selector.register(connection, selectors.EVENT_READ, lambda: self._answer(connection))

    def _answer(self, connection: socket.socket) -> None:
        try:
            request = messages.receive(connection)
        except messages.ConnectionLostError:
            self.selector.unregister(connection)
            connection.close()
            return
        try:
            reply, descriptors = self._carry_out(request, connection)
        except LabError as error:
            reply, descriptors = messages.describe(error), []
        except Exception as error:  # noqa: BLE001 - one bad request must not take the lab down
            reply, descriptors = messages.describe(error), []
        finally:
            _close_all(request.descriptors)
        self._tell(connection, reply, descriptors)
        _close_all(descriptors)

    def _carry_out(self, request: messages.Message, connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
        """Do what the request asks; the descriptors in the answer are closed once they are sent."""
        body = request.body
        match body["do"]:
            case "spawn":
                return self._spawn(body, request.descriptors, connection), []
            case "signal":
                return self._signal(body["signal"], connection), []
            case "socket":
                return {}, [self._socket(body)]
            case "sysctl":
                return self._sysctl(body), []
            case "processes":
                return {"processes": resources.processes(self.built.nodes)}, []
            case "down":
                self._down(connection)
        msg = f'unknown request "{body["do"]}": the lab was started by another version of this program'
        raise UsageError(msg)

    def _node(self, name: str) -> Namespaces:
        try:
            return self.built.nodes[name]
        except KeyError:
            msg = f'no node named "{name}"; this lab has {", ".join(self.built.nodes)}'
            raise UsageError(msg) from None

    def _spawn(self, body: dict[str, Any], descriptors: tuple[int, ...], connection: socket.socket) -> dict[str, Any]:
        node = self._node(body["node"])
        stdin, stdout, stderr = descriptors

        def enter() -> None:
            node.enter()
            resources.restore_limits()
            try:
                os.chdir(body["cwd"])
            except OSError as error:
                os.write(2, f"lab: {body['cwd']}: {error.strerror} (in node {body['node']})\n".encode())
                os._exit(_CANNOT_RUN)

        try:
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
        return {"pid": program.pid}

    def _signal(self, number: int, connection: socket.socket) -> dict[str, Any]:
        """Signal the process group of this connection's process; one that has ended gets none."""
        for pid, (_program, waiter) in self.children.items():
            if waiter is connection:
                os.killpg(pid, number)
        return {}

    def _socket(self, body: dict[str, Any]) -> int:
        node = self._node(body["node"])
        with namespaces.entered(node.net, Clone.NET, self.built.home.net):
            made = socket.socket(body["family"], body["type"], body["protocol"])
        if body["receive_buffer"]:
            resources.enlarge_receive_buffer(made, body["receive_buffer"])
        return made.detach()

    def _sysctl(self, body: dict[str, Any]) -> dict[str, Any]:
        node = self._node(body["node"])
        with namespaces.entered(node.net, Clone.NET, self.built.home.net):
            try:
                if body["value"] is not None:
                    sysctl.write(body["key"], body["value"])
                return {"value": sysctl.read(body["key"])}
            except OSError as error:
                msg = f"{body['node']}: sysctl {body['key']}: {error.strerror}"
                raise UsageError(msg) from error

    def _down(self, connection: socket.socket) -> NoReturn:
        """Answer first, then end: who asked waits for the guard's pipe to close."""
        self._tell(connection, {}, [self.lab.guard_gone])
        self.lab.end()

    def _reap(self, wakened: socket.socket) -> None:
        """Take the exit codes of all who have ended, children of our children too: process 1 inherits them."""
        wakened.recv(4096)
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
                self._tell(connection, {"exit": program.returncode}, [])

    def _tell(self, connection: socket.socket, body: dict[str, Any], descriptors: list[int]) -> None:
        """Send, unless the other side is gone or does not read: nobody may hold the owner up."""
        try:
            messages.send(connection, body, descriptors)
        except (messages.ConnectionLostError, OSError):
            return  # closed, or full: the selector sees a closed connection by itself


def _close_all(descriptors: list[int] | tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
