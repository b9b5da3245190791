"""The client's side of the netns backend: asks the nursery for labs, and their owners for everything else."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import command
from lab.backends.base import LabFacts, RunningLab, ServiceStatus
from lab.backends.netns import entrance, messages, registry
from lab.errors import BackendError, NotSupportedError, UsageError
from lab.faults.model import Fault, FaultState, Mark
from lab.plan.model import Impairment, Plan
from lab.wait import wait_until

if TYPE_CHECKING:
    from lab.backends.netns.borrowed import BorrowedWires
    from lab.link.instrument import Link

_FACTS = ("name", "since", "owner", "rootless", "source", "nodes")
_MOST_PORTS = 1023  # BR_MAX_PORTS of the kernel, less the one that it does not use
_ENDS_WITHIN = 30.0  # seconds
_OBEYS_WITHIN = 5.0


class NetnsProcess:
    """See `lab.backends.base.RunningProcess`: a connection to the owner per process."""

    def __init__(self, connection: socket.socket, pid: int, exit_code: int | None = None) -> None:
        self._connection = connection
        self._exit_code = exit_code
        self.pid = pid

    def wait(self, timeout: float | None) -> int | None:
        """Return the exit code, or None if it still runs after `timeout` seconds."""
        while self._exit_code is None:
            self._connection.settimeout(timeout)
            try:
                message = messages.receive(self._connection)
            except (TimeoutError, BlockingIOError):
                return None
            except messages.ConnectionLostError:
                self._exit_code = -signal.SIGKILL  # the lab is down, and the kernel has killed all in it
            else:
                self._exit_code = message.body.get("exit")  # an answer to `signal` has none
        self._connection.close()
        return self._exit_code

    def signal(self, number: int) -> None:
        """Send a signal to the process group."""
        if self._exit_code is None:
            with contextlib.suppress(messages.ConnectionLostError):  # then it has ended with its lab
                messages.send(self._connection, {"do": "signal", "signal": number})
                self._connection.settimeout(None)
                while (code := messages.receive(self._connection).body.get("exit")) is not None:
                    self._exit_code = code  # it ended meanwhile; the answer is still to come

    def close(self) -> None:
        """Let go of the program."""
        self._connection.close()


class NetnsFeed:
    """See `lab.backends.base.MarkFeed`: the owner sends each mark before it answers who asked for the fault."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        self._connection = connection
        self.fileno = connection.fileno
        self.close = connection.close

    def read(self) -> list[Mark]:
        """Return what has come since the last call."""
        marks = []
        while True:
            try:
                marks.append(Mark(**messages.receive(self._connection).body))
            except (BlockingIOError, messages.ConnectionLostError):  # the latter: the lab is down, nothing will come
                return marks


class NetnsLab:
    """See `lab.backends.base.RunningLab`."""

    def __init__(self, name: str, plan: Plan | None = None, lifeline: socket.socket | None = None) -> None:
        """Hold on to a lab.

        Args:
            plan: if it is known; it is read from the lab's folder otherwise.
            lifeline: the channel that the lab was asked for on; a lab that is not detached ends with it.
        """
        self.name = name
        self._plan = plan
        self._lifeline = lifeline
        self._borrowed: BorrowedWires | None = None

    @cached_property
    def plan(self) -> Plan:
        """What was built."""
        return self._plan or registry.plan_of(self.name)

    @property
    def folder(self) -> Path:
        """The lab's folder."""
        return registry.root() / self.name

    @cached_property
    def source(self) -> str:
        """The topology file."""
        return str(registry.owner_of(self.name)["source"])

    def spawn(
        self,
        node: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        files: tuple[int, int, int],
        service: str = "",
        unprivileged: bool = False,
    ) -> NetnsProcess:
        """Start a program in a node."""
        request = {
            "do": "spawn",
            "node": node,
            "arguments": list(arguments),
            "environment": dict(environment),
            "cwd": str(cwd),
            "service": service,
            "unprivileged": unprivileged,
        }
        return self._process(request, files)

    def follow(self, node: str, service: str) -> NetnsProcess:
        """Return the program of a service."""
        return self._process({"do": "follow", "node": node, "service": service})

    def respawn(self, node: str, service: str) -> NetnsProcess:
        """Start a service that has ended once more."""
        return self._process({"do": "respawn", "node": node, "service": service})

    def services(self) -> list[ServiceStatus]:
        """Return how every service is."""
        return [ServiceStatus(**status) for status in self._request({"do": "services"}).body["services"]]

    def write(self, node: str, files: Mapping[str, str]) -> None:
        """Write files into the node's own folders."""
        self._request({"do": "write", "node": node, "files": dict(files)})

    def _process(self, request: dict[str, Any], files: Sequence[int] = ()) -> NetnsProcess:
        connection = registry.connect(self.name)
        try:
            answer = _ask(connection, request, files)
        except BaseException:
            connection.close()
            raise
        return NetnsProcess(connection, answer.body["pid"], answer.body.get("exit"))

    def socket(self, node: str, family: int, kind: int, protocol: int = 0, *, receive_buffer: int = 0) -> socket.socket:
        """Return a socket of the node's network namespace."""
        answer = self._request(
            {
                "do": "socket",
                "node": node,
                "family": family,
                "type": kind,
                "protocol": protocol,
                "receive_buffer": receive_buffer,
            }
        )
        return socket.socket(fileno=answer.descriptors[0])

    def sysctl(self, node: str, key: str, value: str | None = None) -> str:
        """Return a sysctl of the node, after setting it if there is a value."""
        answer = self._request({"do": "sysctl", "node": node, "key": key, "value": value})
        return str(answer.body["value"])

    def fault(self, fault: Fault) -> bool:
        """Do something to the lab; return whether that changed anything."""
        return bool(self._request({"do": "fault", "fault": asdict(fault)}).body["changed"])

    def faults(self) -> FaultState:
        """Return what is wrong with the lab now."""
        return FaultState.from_data(self._request({"do": "faults"}).body["faults"])

    def start_timeline(self) -> int:
        """Let the plan's timeline begin."""
        return int(self._request({"do": "timeline"}).body["events"])

    def watch(self) -> NetnsFeed:
        """Return what tells of everything that is done to the lab."""
        connection = registry.connect(self.name)
        try:
            _ask(connection, {"do": "watch"})
        except BaseException:
            connection.close()
            raise
        return NetnsFeed(connection)

    def impair(self, node: str, interface: str, out: Impairment | None, incoming: Impairment | None) -> None:
        """Change what happens on an interface, and return when it has changed."""
        directions = {"out": out and asdict(out), "incoming": incoming and asdict(incoming)}
        answer = self._request({"do": "impair", "node": node, "interface": interface, **directions})
        try:
            if not all(_closes(done, _OBEYS_WITHIN) for done in answer.descriptors):
                msg = f"{node}:{interface}: the program that carries the wire's frames does not listen"
                raise BackendError(msg)
        finally:
            for done in answer.descriptors:
                os.close(done)

    def link(self, node: str, interface: str) -> Link:
        """Return a wire, to be programmed from here: all wires of the lab are carried by this process from now on."""
        if self._borrowed is None or self._borrowed.has_ended:
            from lab.backends.netns.borrowed import BorrowedWires  # noqa: PLC0415 - few labs have wires to program

            connection = registry.connect(self.name)
            try:
                self._borrowed = BorrowedWires(connection, _ask(connection, {"do": "wires"}))
            except BaseException:
                connection.close()
                raise
        return self._borrowed.link(node, interface)

    def processes(self) -> list[dict[str, Any]]:
        """Return what runs in the nodes."""
        found: list[dict[str, Any]] = self._request({"do": "processes"}).body["processes"]
        return found

    def entrance(self, node: str) -> tuple[str, ...]:
        """Return the command line that leads into the node."""
        return (str(registry.root() / self.name / entrance.FILE), node)

    def down(self, timeout: float = 30.0) -> None:
        """Take the lab down; wait for its guard's pipe to close, which is the last thing that happens.

        An owner that does not answer, or does not end, is killed, and its guard clears up.
        """
        try:
            owner = registry.owner_of(self.name)["owner"]
            with registry.connect(self.name) as connection:
                connection.settimeout(timeout)
                try:
                    (gone,) = _ask(connection, {"do": "down"}).descriptors
                except TimeoutError:
                    os.kill(owner, signal.SIGKILL)
                    wait_until(lambda: self.name not in registry.names(), timeout=timeout, what="a killed lab to go")
                    return
            ended = _closes(gone, timeout)
            if not ended:
                os.kill(owner, signal.SIGKILL)
                ended = _closes(gone, timeout)
            os.close(gone)
            if not ended:
                msg = f'lab "{self.name}": process {owner} does not end, although killed'
                raise BackendError(msg)
        finally:
            if self._borrowed:
                self._borrowed.close()
            if self._lifeline:
                self._lifeline.close()

    def _request(self, body: dict[str, Any]) -> messages.Message:
        with registry.connect(self.name) as connection:
            return _ask(connection, body)


class _Birth:
    """Follows a lab from the request to `ready`, or to the end of whatever had been built."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._gone: int | None = None

    def follow(self, on_step: Callable[[str], None]) -> None:
        """Return once the lab is up; raises what its guard or owner reports."""
        while True:
            message = messages.check(messages.receive(self._channel))
            if "owner" in message.body:
                (self._gone,) = message.descriptors
            elif "step" in message.body:
                on_step(message.body["step"])
            elif "ready" in message.body and self._gone is not None:
                return

    def abandon(self) -> None:
        """Make the lab end, and wait until it has: closing the channel is what its owner notices."""
        self._channel.settimeout(_ENDS_WITHIN)
        while self._gone is None:
            try:
                message = messages.receive(self._channel)
            except (messages.ConnectionLostError, TimeoutError):
                break
            if "owner" in message.body:
                (self._gone,) = message.descriptors
        self._channel.close()
        if self._gone is not None:
            _closes(self._gone, _ENDS_WITHIN)
            os.close(self._gone)

    def survive(self, *, detached: bool) -> socket.socket | None:
        """Return the channel that the lab ends with; None for one that needs no client."""
        assert self._gone is not None  # noqa: S101 - `follow` has returned
        if detached:
            messages.send(self._channel, {"detached": True})
            self._channel.close()
        os.close(self._gone)
        return None if detached else self._channel


class NetnsBackend:
    """See `lab.backends.base.Backend`."""

    name = "netns"

    def __init__(self) -> None:
        self._nursery: tuple[subprocess.Popen[bytes], socket.socket] | None = None

    def prepare(self) -> None:
        """Start the nursery now, so that it is warm when the first lab is asked for."""
        if self._nursery is None:
            ours, theirs = messages.pair()
            with theirs:
                # -P: the folder that a user stands in is no place to import from.
                arguments = [sys.executable, "-P", "-m", "lab.backends.netns.nursery", str(theirs.fileno())]
                self._nursery = command.start(arguments, keep_open=[theirs.fileno()]), ours

    def up(
        self,
        plan: Plan,
        *,
        source: str = "",
        detached: bool = False,
        shared: Sequence[Path] = (),
        on_step: Callable[[str], None] = lambda _step: None,
        settle: Callable[[RunningLab], None] = lambda _lab: None,
    ) -> NetnsLab:
        """Build the lab."""
        _refuse_crowds(plan)
        ours, theirs = messages.pair()
        request = {"source": source, "shared": _visible(shared)}
        with theirs, tempfile.TemporaryFile() as file:
            file.write(plan.to_json().encode())
            file.seek(0)
            self._send(request, [theirs.fileno(), file.fileno()])
        birth = _Birth(ours)
        try:
            birth.follow(on_step)
            settle(NetnsLab(plan.name, plan))
            lifeline = birth.survive(detached=detached)
        except messages.ConnectionLostError as error:
            birth.abandon()
            msg = f'lab "{plan.name}": its owner ended before the lab was up'
            raise BackendError(msg) from error
        except BaseException:
            birth.abandon()
            raise
        return NetnsLab(plan.name, plan, lifeline)

    def _send(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Ask the nursery; one that has died meanwhile is replaced once."""
        for _attempt in range(2):
            self.prepare()
            assert self._nursery  # noqa: S101 - prepare has just made it
            try:
                messages.send(self._nursery[1], request, descriptors)
            except messages.ConnectionLostError:
                self.close()
            else:
                return
        msg = "the process that starts labs cannot be started; `lab doctor` looks for the reason"
        raise BackendError(msg)

    def running(self) -> list[LabFacts]:
        """Return this user's labs that are up."""
        found = []
        for name in registry.names():
            try:
                facts = registry.owner_of(name)
            except UsageError:
                continue  # it went down just now
            if facts.keys() >= set(_FACTS):  # else it is only just coming up
                found.append(LabFacts(backend=self.name, **{key: facts[key] for key in _FACTS}))
        return found

    def attach(self, name: str) -> NetnsLab:
        """Return a lab that is up already."""
        if name not in registry.names():
            raise registry.no_such_lab(name)
        return NetnsLab(name)

    def close(self) -> None:
        """End the nursery; labs that are not detached end with their clients, not with it."""
        if self._nursery:
            process, channel = self._nursery
            channel.close()
            process.wait()
            self._nursery = None


def _refuse_crowds(plan: Plan) -> None:
    """Refuse what a Linux bridge cannot do, before anything is built.

    Raises:
        NotSupportedError: more interfaces on a network than a bridge has ports.
    """
    ports = Counter(interface.network for node in plan.nodes for interface in node.interfaces)
    for network, count in ports.items():
        if count > _MOST_PORTS:
            msg = f'network "{network}": {count} interfaces, but a bridge has {_MOST_PORTS} ports; split it by a router'
            raise NotSupportedError(msg)


def _visible(shared: Sequence[Path]) -> list[str]:
    """Keep those folders that a node would not see by itself."""
    real = (os.path.realpath(path) for path in shared)
    return sorted({path for path in real if path.startswith(entrance.PRIVATE_ROOTS)})


def _ask(connection: socket.socket, body: dict[str, Any], descriptors: Sequence[int] = ()) -> messages.Message:
    try:
        messages.send(connection, body, descriptors)
        return messages.check(messages.receive(connection))
    except messages.ConnectionLostError as error:
        msg = "the lab went down meanwhile"
        raise BackendError(msg) from error


def _closes(pipe: int, timeout: float) -> bool:
    """Wait up to `timeout` seconds for the other end of a pipe to be closed by all who have it."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(timeout * 1000))
