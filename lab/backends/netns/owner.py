"""The owner of one lab: process 1 of the lab's PID namespace, holder of all its namespaces, parent of its processes.

It does what clients ask over its socket, one request after the other, and ends when it is told to, when the
client that it was started for goes (unless that has detached it), or when its guard goes.
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lab import command
from lab.backends.netns import entrance, files, messages, registry, resources
from lab.backends.netns.build import Built, Namespaces, build
from lab.backends.netns.faults import Faults
from lab.backends.netns.impairments import Impairments
from lab.backends.netns.services import Services
from lab.errors import LabError, UsageError
from lab.faults.model import Mark
from lab.netlink import namespaces, sysctl
from lab.netlink.namespaces import Clone
from lab.plan.model import Impairment, Plan, PlannedEvent, impairment_text

_CANNOT_RUN = 126  # a shell's exit code for a program that is there and cannot be run


@dataclass(frozen=True, slots=True)
class Lab:
    """What the guard hands to the owner.

    Attributes:
        client: the channel of who asked for the lab; its end ends the lab, unless a message on it lets it go on.
        guard_gone: a pipe that closes when the guard ends.
        rootless: the lab lives in a user namespace of its own.
        options: shared (list of folders).
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
            service = Service(self, built, registry.listen(self.entry))
            service.impairments.start()
            gc.enable()
            messages.send(self.client, {"ready": True})
        except LabError as error:
            messages.send(self.client, messages.describe(error))
            return
        except messages.ConnectionLostError:
            return
        with packet_clock:
            service.serve()

    def end_if_guard_gone(self) -> None:
        """Without a guard there is nobody to end a lab that hangs, so there is to be no lab."""
        if select.select([self.guard_gone], [], [], 0)[0]:
            self.end()

    def end(self) -> NoReturn:
        """Clear the folder away, lest the guard be killed before it does, and end."""
        try:
            if self.staging.is_mount():
                namespaces.unmount(str(self.staging))  # a mount point cannot be removed where it is one
            registry.remove(self.entry)
        finally:
            os._exit(0)  # whatever could not be cleared away is the guard's to clear

    def _on_step(self, name: str) -> None:
        self.end_if_guard_gone()
        messages.send(self.client, {"step": name})


@dataclass(slots=True)
class Service:
    """The running owner.

    Attributes:
        children: process id (in the lab's PID namespace) to its program and the connection that waits for it.
        watchers: connections that are told of every mark.
    """

    lab: Lab
    built: Built
    listener: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    children: dict[int, tuple[subprocess.Popen[bytes], socket.socket | None]] = field(default_factory=dict)
    services: Services = field(default_factory=Services)
    watchers: list[socket.socket] = field(default_factory=list)
    faults: Faults = field(init=False)
    impairments: Impairments = field(init=False)

    def __post_init__(self) -> None:
        self.faults = Faults(self.lab.plan, self.built, self)
        self.impairments = Impairments(self.lab.plan, self.built, self.selector)

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
            (self.lab.client, self._hear_client),
        ]
        for source, action in watched:
            self.selector.register(source, selectors.EVENT_READ, action)
        while True:
            for key, _events in self.selector.select(self.faults.timeout()):
                key.data()
            self.faults.carry_out_due()

    def _accept(self) -> None:
        connection, _address = self.listener.accept()
        connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        self.selector.register(connection, selectors.EVENT_READ, lambda: self._answer(connection))

    def _hear_client(self) -> None:
        """The client that asked for the lab lets it go on without it, or has gone."""
        try:
            messages.receive(self.lab.client)
        except messages.ConnectionLostError:
            self.lab.end()
        self.selector.unregister(self.lab.client)
        self.lab.client.close()

    def _answer(self, connection: socket.socket) -> None:
        try:
            request = messages.receive(connection)
        except messages.ConnectionLostError:
            self.selector.unregister(connection)
            self.watchers = [watcher for watcher in self.watchers if watcher is not connection]
            self.impairments.wires.hear_end(connection)
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
        reply: dict[str, Any] = {}
        descriptors: list[int] = []
        match body["do"]:
            case "socket":
                descriptors = [self._socket(body)]
            case "impair":
                out, incoming = (Impairment(**body[way]) if body[way] else None for way in ("out", "incoming"))
                descriptors = self._impair(body["node"], body["interface"], out, incoming)
            case "wires":
                reply, descriptors = self.impairments.wires.lend(connection)
            case "down":
                self._down(connection)
            case _:
                reply = self._reply_to(body, request.descriptors, connection)
        return reply, descriptors

    def _reply_to(
        self, body: dict[str, Any], descriptors: tuple[int, ...], connection: socket.socket
    ) -> dict[str, Any]:
        reply: dict[str, Any] = {}
        match body["do"]:
            case "spawn":
                reply = self._spawn(body, descriptors, connection)
            case "signal":
                reply = self._signal(body["signal"], connection)
            case "services" | "follow" | "respawn":
                reply = self._answer_of_services(body, connection)
            case "write":
                reply = self._write(body)
            case "sysctl":
                reply = self._sysctl(body)
            case "fault" | "faults" | "timeline":
                reply = self.faults.answer(body)
            case "watch":
                self.watchers.append(connection)
            case "processes":
                reply = {"processes": resources.processes(self.built.nodes)}
            case other:
                msg = f'unknown request "{other}": the lab was started by another version of this program'
                raise UsageError(msg)
        return reply

    def _node(self, name: str) -> Namespaces:
        try:
            return self.built.nodes[name]
        except KeyError:
            msg = f'no node named "{name}"; this lab has {", ".join(self.built.nodes)}'
            raise UsageError(msg) from None

    def on_mark(self, mark: Mark) -> None:
        """Tell who watches."""
        for watcher in self.watchers:
            self._tell(watcher, asdict(mark), [])

    def on_kill(self, node: str) -> None:
        """Note that the node's programs have ended, and that its services were meant to."""
        self.services.lose_power(node)
        self._reap_ended()

    def on_boot(self, node: str) -> None:
        """Start the services again that ran when the node was killed; nobody waits for their end."""
        for service in self.services.take_lost(node):
            self._spawn(service.request, service.descriptors, None)

    def on_impair(self, event: PlannedEvent) -> None:
        """Impair an interface because the timeline says so."""
        node, _, interface = event.fault.targets[0].partition(":")
        _close_all(self._impair(node, interface, event.out, event.incoming))

    def _impair(self, node: str, interface: str, out: Impairment | None, incoming: Impairment | None) -> list[int]:
        """Return descriptors that tell when it has been done."""
        waited_for = self.impairments.change(node, interface, out, incoming)
        self.faults.note_impairment((node, interface), impairment_text(out, incoming))
        return waited_for

    def _spawn(
        self, body: dict[str, Any], descriptors: tuple[int, ...], connection: socket.socket | None
    ) -> dict[str, Any]:
        node = self._node(body["node"])
        self.faults.refuse_if_off(body["node"])
        stdin, stdout, stderr = descriptors

        def enter() -> None:
            node.enter()
            resources.restore_limits()
            try:
                os.chdir(body["cwd"])
            except OSError as error:
                os.write(2, f"lab: {body['cwd']}: {error.strerror} (in node {body['node']})\n".encode())
                os._exit(_CANNOT_RUN)
            if body["unprivileged"]:
                namespaces.become_nobody_in_particular(files.SERVICE_USER)

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
        if body["service"]:
            self.services.remember(body, descriptors, program.pid)
        return {"pid": program.pid}

    def _answer_of_services(self, body: dict[str, Any], connection: socket.socket) -> dict[str, Any]:
        if body["do"] == "services":
            self._reap_ended()
            return {"services": self.services.status()}
        if body["do"] == "respawn":
            ended = self.services.ended(body)
            return self._spawn(ended.request, ended.descriptors, connection)
        service = self.services.get(body)
        service.followers.append(connection)
        return {"pid": service.pid, "exit": service.exit_code}

    def _write(self, body: dict[str, Any]) -> dict[str, Any]:
        node = self._node(body["node"])
        node.enter()
        try:
            files.write_own(body["files"])
        except OSError as error:
            msg = f"{body['node']}: cannot write {error.filename}: {error.strerror}"
            raise UsageError(msg) from error
        finally:
            self.built.home.enter()
        return {}

    def _signal(self, number: int, connection: socket.socket) -> dict[str, Any]:
        """Signal the process group of this connection's process; one that has ended gets none."""
        own = {pid for pid, (_program, waiter) in self.children.items() if waiter is connection}
        for pid in self.services.signal(own, number, connection):
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
        self._reap_ended()

    def _reap_ended(self) -> None:
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
                        self._tell(waiter, {"exit": program.returncode}, [])

    def _tell(self, connection: socket.socket, body: dict[str, Any], descriptors: list[int]) -> None:
        """Send, unless the other side is gone or does not read: nobody may hold the owner up."""
        try:
            messages.send(connection, body, descriptors)
        except (messages.ConnectionLostError, OSError):
            return  # closed, or full: the selector sees a closed connection by itself


def _close_all(descriptors: list[int] | tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
