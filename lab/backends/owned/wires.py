"""The programmable wires of a running lab, on the owner's side.

Frames are carried by a process of the owner's own, until a client asks for the wires to program them; when that
client is gone, by a new process. Whoever it is has the wires' descriptors and a channel: on it come changes of
impairments, each with a pipe that is closed once it has been made, and the channel's end is the end of the job: at
once, unless it was to finish first.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from lab.backends.owned import messages
from lab.errors import BackendError, UsageError
from lab.link.device import Ends
from lab.plan.model import Impairment, Plan

_CHANNEL = 3  # behind stdin, stdout and stderr


@dataclass(frozen=True, slots=True)
class Spanned:
    """A wire, and what happens on it now."""

    node: str
    interface: str
    ends: Ends
    out: Impairment | None
    incoming: Impairment | None


@dataclass(slots=True)
class Wires:
    """The owner's wires, and who runs them.

    Attributes:
        watch: called with a channel and what to do when something can be read from it.
        unwatch: called with a channel that is about to be closed.
        channel: to who carries the frames; None if nobody does.
        is_lent: whether that is a client.
        failure: why our own process has ended, if it has.
    """

    plan: Plan
    spanned: list[Spanned]
    watch: Callable[[socket.socket, Callable[[], None]], None]
    unwatch: Callable[[socket.socket], object]
    channel: socket.socket | None = None
    is_lent: bool = False
    failure: str = ""

    def start(self) -> None:
        """Have a process of our own carry the frames, and return when it does; the caller must have one thread.

        Raises:
            BackendError: it has failed.
        """
        if not self.spanned:
            return
        self.channel, self.is_lent = None, False
        ours, theirs = messages.pair()
        if os.fork() == 0:
            _carry_for_ever(theirs)
        theirs.close()
        try:
            messages.send(ours, *self._everything())
            messages.check(messages.receive(ours))
        except messages.ConnectionLostError as error:
            msg = "the process that carries the frames of wires ended at once"
            raise BackendError(msg) from error
        ours.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        self.channel = ours
        self.watch(ours, self._hear_process)

    def lend(self, client: socket.socket) -> tuple[dict[str, Any], list[int]]:
        """Let a client carry the frames; return what it needs for that. Our process passes on what it has, and ends.

        Raises:
            UsageError: a client has them already, or the lab has no wires.
        """
        if not self.spanned:
            msg = f'lab "{self.plan.name}" has no programmable wire; write "wire: true" at an interface'
            raise UsageError(msg)
        if self.is_lent:
            msg = f'the wires of lab "{self.plan.name}" are in the hands of another program; only one can have them'
            raise UsageError(msg)
        if self.channel is not None:
            messages.offer(self.channel, {"finish": True})
        self._end_process()
        self.channel, self.is_lent, self.failure = client, True, ""
        body, descriptors = self._everything()
        return body, [os.dup(one) for one in descriptors]

    def hear_end(self, connection: socket.socket) -> None:
        """Take the wires back if this connection, which has closed, is that of the client that has them."""
        if self.is_lent and connection is self.channel:
            self._start_again()

    def has(self, node: str, interface: str) -> bool:
        """Whether this interface is at a wire."""
        return any((one.node, one.interface) == (node, interface) for one in self.spanned)

    def impair(self, node: str, interface: str, out: Impairment | None, incoming: Impairment | None) -> int:
        """Change what happens on the wire of this interface; return a pipe that closes when it has been done.

        Raises:
            BackendError: nobody carries its frames any more.
        """
        if self.channel is None:
            msg = f"the wires of this lab have failed: {self.failure}"
            raise BackendError(msg)
        number = next(n for n, one in enumerate(self.spanned) if (one.node, one.interface) == (node, interface))
        self.spanned[number] = replace(self.spanned[number], out=out, incoming=incoming)
        done, theirs = os.pipe()
        try:
            messages.send(self.channel, {"impair": number, "out": _data(out), "incoming": _data(incoming)}, [theirs])
        except messages.ConnectionLostError:
            pass  # who carries the frames next is told from the start
        finally:
            os.close(theirs)
        return done

    def _hear_process(self) -> None:
        """Our process tells why it fails, or has been killed: by a program in the lab, say."""
        assert self.channel  # noqa: S101 - it is what was heard on
        try:
            self.failure = messages.receive(self.channel).body["message"]
        except messages.ConnectionLostError:
            self._end_process()
            if not self.failure:
                self._start_again()

    def _start_again(self) -> None:
        """Nobody waits for an answer here; what goes wrong is told to whoever asks for a wire next."""
        try:
            self.start()
        except BackendError as error:
            self.failure = str(error)

    def _end_process(self) -> None:
        if self.channel is not None:
            self.unwatch(self.channel)
            self.channel.close()
            self.channel = None

    def _everything(self) -> tuple[dict[str, Any], list[int]]:
        described = [
            {
                "node": one.node,
                "interface": one.interface,
                "largest": one.ends.largest,
                "out": _data(one.out),
                "incoming": _data(one.incoming),
            }
            for one in self.spanned
        ]
        descriptors = [end for one in self.spanned for end in (one.ends.node, one.ends.port)]
        return {"wires": described, "seed": self.plan.seed}, descriptors


def _data(impairment: Impairment | None) -> dict[str, Any] | None:
    return None if impairment is None else asdict(impairment)


def _carry_for_ever(channel: socket.socket) -> None:
    """Be the process that carries the frames; holds nothing of the owner's but the channel. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        gc.freeze()
        os.dup2(channel.detach(), _CHANNEL)
        os.closerange(_CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))
        ours = socket.socket(fileno=_CHANNEL)
        try:
            from lab.backends.owned.carrier import Carrier  # noqa: PLC0415 - most labs have no wires

            carrier = Carrier(ours, messages.receive(ours), keep_log=False)
            messages.send(ours, {"carrying": True})
            carrier.run()
        except Exception as error:  # noqa: BLE001 - the owner must hear of it, whatever it is
            messages.send(ours, messages.describe(error))
    finally:
        os._exit(0)
