"""A Trace: what was captured, in the order of time, with the questions that checks ask of it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Self, overload

from lab.errors import LabError
from lab.faults.model import Mark
from lab.trace import collector
from lab.trace.conversation import Connection, Endpoint, Follower, endpoints
from lab.trace.notation import Printer
from lab.trace.packet import Packet, decode
from lab.trace.pcap import read_pcap

Predicate = Callable[[Packet], bool]

_MOST_SHOWN = 20


class NoSuchPacketError(LabError):
    """A packet was asked for that the trace has not; the message shows what is there."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Packets sorted by time; packets of one time stay in the order given.

    Attributes:
        dropped: how many packets the kernel dropped because the capture was too slow to take them.
        whole: the trace that this one was selected from; None if it is itself whole.
        marks: what was done to the lab meanwhile, sorted by time; a selection keeps all of them.
    """

    packets: tuple[Packet, ...] = ()
    dropped: int = 0
    whole: Trace | None = field(default=None, repr=False, compare=False)
    marks: tuple[Mark, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "marks", tuple(sorted(self.marks, key=attrgetter("time_ns"))))
        object.__setattr__(self, "packets", tuple(sorted(self.packets, key=attrgetter("time_ns"))))

    @classmethod
    def from_pcap(cls, path: str | Path, node: str = "", interface: str = "") -> Self:
        """Read a pcap or pcapng file; `node` and `interface` say where it was captured.

        Raises:
            CaptureFileError: the file cannot be read.
        """
        with collector.paused():
            packets = tuple(
                decode(data, length=length, time_ns=time_ns, node=node, interface=interface)
                for time_ns, data, length in read_pcap(path)
            )
        return cls(packets)

    def __len__(self) -> int:
        return len(self.packets)

    def __iter__(self) -> Iterator[Packet]:
        return iter(self.packets)

    @overload
    def __getitem__(self, index: int) -> Packet: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Packet | Self:
        if isinstance(index, slice):
            return self._with(self.packets[index])
        return self.packets[index]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def where(self, *predicates: Predicate) -> Self:
        """Return the packets for which all predicates hold."""
        return self._with(packet for packet in self.packets if all(predicate(packet) for predicate in predicates))

    def on(self, node: str, interface: str | None = None) -> Self:
        """Return the packets captured at a node, on one interface or all of its own."""
        return self.where(
            lambda packet: packet.node == node,
            lambda packet: interface is None or packet.interface == interface,
        )

    def first(self, *predicates: Predicate) -> Packet:
        """Return the first packet for which all predicates hold.

        Raises:
            NoSuchPacketError: there is none; shows the packets that there are.
        """
        return _nonempty(self.where(*predicates))[0]

    def last(self, *predicates: Predicate) -> Packet:
        """Return the last packet for which all predicates hold.

        Raises:
            NoSuchPacketError: there is none; shows the packets that there are.
        """
        return _nonempty(self.where(*predicates))[-1]

    def lines(self) -> list[str]:
        """Return one line per packet in packetdrill's notation, and one per mark, times relative to the first."""
        printer = Printer()
        both: Iterable[Mark | Packet] = heapq.merge(self.marks, self.packets, key=attrgetter("time_ns"))
        return [printer.mark(one) if isinstance(one, Mark) else printer.line(one) for one in both]

    def conversations(self) -> tuple[Conversation, ...]:
        """Return the TCP connections, in the order of their first packets."""
        follower = Follower()
        groups: dict[int, tuple[Connection, list[Packet]]] = {}
        for packet in self.packets:
            connection = follower.follow(packet)
            if connection is not None:
                groups.setdefault(id(connection), (connection, []))[1].append(packet)
        return tuple(
            Conversation(connection.client, connection.server, self._with(packets))
            for connection, packets in groups.values()
        )

    def _with(self, packets: Iterable[Packet]) -> Self:
        return type(self)(tuple(packets), self.dropped, self.whole or self, self.marks)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One TCP connection: both directions, as far as they were captured.

    Attributes:
        client: (address, port) of who sent the SYN, or was first to send where the SYN was not captured.
    """

    client: Endpoint
    server: Endpoint
    trace: Trace

    @property
    def from_client(self) -> Trace:
        """What the client sent."""
        return self._sent_by(self.client)

    @property
    def from_server(self) -> Trace:
        """What the server sent."""
        return self._sent_by(self.server)

    def _sent_by(self, endpoint: Endpoint) -> Trace:
        return self.trace.where(lambda packet: (endpoints(packet) or (None,))[0] == endpoint)


def merge(traces: Iterable[Trace]) -> Trace:
    """Return one trace of many, sorted by time; what the kernel dropped is added up, and each mark stands once."""
    several = tuple(traces)
    return Trace(
        tuple(packet for trace in several for packet in trace),
        sum(trace.dropped for trace in several),
        marks=tuple({mark for trace in several for mark in trace.marks}),
    )


def _nonempty(trace: Trace) -> Trace:
    if trace:
        return trace
    lines = [] if trace.whole is None else trace.whole.lines()
    if not lines:
        raise NoSuchPacketError(f"nothing was captured ({trace.dropped} packets dropped by the kernel)")
    more = len(lines) - _MOST_SHOWN
    shown = "; ".join(lines[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    raise NoSuchPacketError(f"no such packet among the {len(lines)} captured: {shown}")
