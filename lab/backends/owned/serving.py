"""What a lab's owner does while the lab runs: it answers its clients' requests, one after the other."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from lab.backends.owned import files, messages, resources
from lab.backends.owned.built import Built
from lab.backends.owned.faults import Faults
from lab.backends.owned.impairments import Impairments
from lab.backends.owned.ownership import Lab
from lab.backends.owned.programs import Programs
from lab.errors import BackendError, LabError, UsageError
from lab.faults.model import Mark
from lab.netlink import namespaces, sysctl
from lab.netlink.namespaces import Clone
from lab.plan.model import Impairment, PlannedEvent, impairment_text


@dataclass(slots=True)
class Service:
    """The running owner.

    Attributes:
        watchers: connections that are told of every mark.
    """

    lab: Lab
    built: Built
    listener: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    watchers: list[socket.socket] = field(default_factory=list)
    programs: Programs = field(init=False)
    faults: Faults = field(init=False)
    impairments: Impairments = field(init=False)

    def __post_init__(self) -> None:
        self.programs = Programs(self.built)
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
            (self.lab.guard_gone, self.lab.end),
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
        except BackendError as error:
            messages.offer(connection, messages.describe(error))
            return
        try:
            reply, descriptors = self._carry_out(request, connection)
        except LabError as error:
            reply, descriptors = messages.describe(error), []
        except Exception as error:  # noqa: BLE001 - one bad request must not take the lab down
            reply, descriptors = messages.describe(error), []
        finally:
            _close_all(request.descriptors)
        messages.offer(connection, reply, descriptors)
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
        if body["do"] in ("spawn", "respawn"):
            self.faults.refuse_if_off(body["node"])
        match body["do"]:
            case "spawn":
                reply = self.programs.spawn(body, descriptors, connection)
            case "signal":
                reply = self.programs.signal(body["signal"], connection)
            case "services" | "follow" | "respawn":
                reply = self.programs.answer_of_services(body, connection)
            case "write" | "find":
                reply = self._among_files(body)
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

    def on_mark(self, mark: Mark) -> None:
        """Tell who watches."""
        for watcher in self.watchers:
            messages.offer(watcher, asdict(mark))

    def on_kill(self, node: str) -> None:
        """Note that the node's programs have ended, and that its services were meant to."""
        self.programs.lose_power(node)

    def on_boot(self, node: str) -> None:
        """Start the services again that ran when the node was killed."""
        self.programs.start_lost(node)

    def on_impair(self, event: PlannedEvent) -> None:
        """Impair an interface because the timeline says so."""
        node, _, interface = event.fault.targets[0].partition(":")
        _close_all(self._impair(node, interface, event.out, event.incoming))

    def _impair(self, node: str, interface: str, out: Impairment | None, incoming: Impairment | None) -> list[int]:
        """Return descriptors that tell when it has been done."""
        waited_for = self.impairments.change(node, interface, out, incoming)
        self.faults.note_impairment((node, interface), impairment_text(out, incoming))
        return waited_for

    def _among_files(self, body: dict[str, Any]) -> dict[str, Any]:
        """Write files of a node, or find a program there."""
        node = self.built.node(body["node"])
        node.enter()
        try:
            if body["do"] == "find":
                return {"found": shutil.which(body["program"], path=body["path"])}
            files.write_own(body["files"])
        except OSError as error:
            msg = f"{body['node']}: cannot write {error.filename}: {error.strerror}"
            raise UsageError(msg) from error
        finally:
            self.built.home.enter()
        return {}

    def _socket(self, body: dict[str, Any]) -> int:
        node = self.built.node(body["node"])
        with namespaces.entered(node.net, Clone.NET, self.built.home.net):
            made = socket.socket(body["family"], body["type"], body["protocol"])
        if body["receive_buffer"]:
            resources.enlarge_receive_buffer(made, body["receive_buffer"])
        return made.detach()

    def _sysctl(self, body: dict[str, Any]) -> dict[str, Any]:
        node = self.built.node(body["node"])
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
        messages.offer(connection, {}, [self.lab.guard_gone])
        self.lab.end()

    def _reap(self, wakened: socket.socket) -> None:
        wakened.recv(4096)
        self.programs.reap()


def _close_all(descriptors: list[int] | tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
