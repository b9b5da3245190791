"""Captures on any number of interfaces of a lab at once, on one clock, from one process.

A capture is armed when its sockets are bound, before anything it is to see is sent, and drained to the last
packet when it stops; it says how many packets the kernel dropped in between (packet(7)).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.backends.base import MarkFeed, RunningLab
from lab.command import find_tool, output_of, search_path
from lab.errors import LabError, UsageError
from lab.faults.model import Mark
from lab.process import Process
from lab.trace.packet import Direction, Packet, decode
from lab.trace.pcap import PcapWriter
from lab.trace.trace import Trace

_EVERY_PROTOCOL = 0x0003  # ETH_P_ALL
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS = (
    26,
    64,
)  # the latter is SO_TIMESTAMPNS_NEW: 64-bit seconds and nanoseconds
_SOL_PACKET, _ADD_MEMBERSHIP, _STATISTICS, _AUXDATA = 263, 1, 6, 8
_PROMISCUOUS = 1
_SIOCGIFINDEX = 0x8933
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter
_OUTGOING = 4
_VLAN_VALID, _VLAN_PROTOCOL_VALID = 0x10, 0x40
_MAC_ADDRESSES = 12  # bytes in front of a VLAN tag
_AUX = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata
_TIME = struct.Struct("=qq")
_LARGEST_FRAME = 1 << 18
_ANCILLARY = socket.CMSG_SPACE(_TIME.size) + socket.CMSG_SPACE(_AUX.size)
# Not set aside: what a burst may pile up to before the reading thread gets to it.
_RECEIVE_BUFFER = 64 << 20


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it was captured.

    Attributes:
        length: bytes on the wire.
    """

    time_ns: int
    node: str
    interface: str
    direction: Direction
    length: int
    data: bytes

    def decode(self) -> Packet:
        """Return the frame with its layers."""
        return decode(
            self.data,
            length=self.length,
            time_ns=self.time_ns,
            node=self.node,
            interface=self.interface,
            direction=self.direction,
        )


class Tap:
    """One armed interface."""

    def __init__(self, lab: RunningLab, node: str, interface: str, instructions: bytes = b"") -> None:
        """Arm it.

        Args:
            instructions: a filter as `compile_filter` returns it; empty for every packet.

        Raises:
            UsageError: no such node or interface.
        """
        self.node = node
        self.interface = interface
        self.socket = lab.socket(node, socket.AF_PACKET, socket.SOCK_RAW, receive_buffer=_RECEIVE_BUFFER)
        try:
            self.socket.setblocking(False)  # noqa: FBT003 - the socket module's own signature
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self.socket.setsockopt(_SOL_PACKET, _AUXDATA, 1)
            if instructions:
                _attach_filter(self.socket, instructions)
            self._bind(lab)
        except BaseException:
            self.socket.close()
            raise

    def _bind(self, lab: RunningLab) -> None:
        """Bind last: from here on packets arrive."""
        try:
            self.socket.bind((self.interface, _EVERY_PROTOCOL))
        except OSError as error:
            planned = next(node for node in lab.plan.nodes if node.name == self.node)
            names = ", ".join(interface.name for interface in planned.interfaces)
            msg = f'cannot capture on {self.node}:{self.interface} ({error.strerror}); "{self.node}" has {names}'
            raise UsageError(msg) from error
        request = struct.pack("16s16x", self.interface.encode())
        (index,) = struct.unpack_from("i", fcntl.ioctl(self.socket, _SIOCGIFINDEX, request), 16)
        membership = struct.pack("iHH8x", index, _PROMISCUOUS, 0)
        self.socket.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self.socket.fileno()

    def read(self) -> list[Frame]:
        """Return what has arrived since the last call."""
        frames: list[Frame] = []
        while True:
            try:
                data, ancillary, _flags, address = self.socket.recvmsg(_LARGEST_FRAME, _ANCILLARY)
            except BlockingIOError:
                return frames
            except OSError:  # the interface went down, which the socket says once
                continue
            frames.append(self._frame(data, ancillary, "out" if address[2] == _OUTGOING else "in"))

    def dropped(self) -> int:
        """Return how many packets the kernel has dropped since the last call."""
        _seen, dropped = struct.unpack("II", self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        return int(dropped)

    def _frame(self, data: bytes, ancillary: Sequence[tuple[int, int, bytes]], direction: Direction) -> Frame:
        time_ns, length = 0, len(data)
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, nanoseconds = _TIME.unpack(value)
                time_ns = seconds * 1_000_000_000 + nanoseconds
            elif (level, kind) == (_SOL_PACKET, _AUXDATA):
                status, length, _captured, _mac, _network, tag, tag_protocol = _AUX.unpack(value)
                if status & _VLAN_VALID:  # the kernel takes a tag off before a capture sees it
                    protocol = tag_protocol if status & _VLAN_PROTOCOL_VALID else 0x8100
                    data = data[:_MAC_ADDRESSES] + struct.pack("!HH", protocol, tag) + data[_MAC_ADDRESSES:]
                    length += 4
        return Frame(time_ns, self.node, self.interface, direction, length, data)


class Capture:
    """A capture of several interfaces that runs while the block under `with` does.

    with lab["host"].capture("eth0") as capture:
        lab["host"].ping("10.9.0.9")
    print(capture.trace)
    """

    def __init__(self, arm: Callable[[], list[Tap]], watch: Callable[[], MarkFeed]) -> None:
        """`arm` opens the taps, and `watch` what tells of faults; they are called when the block is entered."""
        self._arm = arm
        self._watch = watch
        self._taps: list[Tap] = []
        self._frames: list[Frame] = []
        self._marks: list[Mark] = []
        self._feed: MarkFeed | None = None
        self._stop = -1
        self._reader: threading.Thread | None = None
        self._trace: Trace | None = None

    @property
    def finished(self) -> bool:
        """Whether it has stopped, and `trace` is there."""
        return self._trace is not None

    @property
    def trace(self) -> Trace:
        """All that was captured, decoded; there once the capture has stopped.

        Raises:
            UsageError: it has not.
        """
        if self._trace is None:
            msg = "a capture has its trace once its block is left"
            raise UsageError(msg)
        return self._trace

    def write_pcaps(self, folder: Path) -> list[Path]:
        """Write one pcap file per interface, NODE-INTERFACE.pcap, and return their paths."""
        paths = []
        for node, interface in dict.fromkeys((packet.node, packet.interface) for packet in self.trace):
            path = folder / f"{node}-{interface}.pcap"
            with path.open("wb") as file:
                writer = PcapWriter(file)
                for packet in self.trace.on(node, interface):
                    writer.write(packet.time_ns, packet.data, packet.length)
            paths.append(path)
        return paths

    def __enter__(self) -> Self:
        self._taps = self._arm()
        try:
            self._feed = self._watch()
        except BaseException:
            close_all(self._taps)
            raise
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._reader = threading.Thread(target=self._read, name="capture", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.eventfd_write(self._stop, 1)
        if self._reader:
            self._reader.join()
        os.close(self._stop)
        for tap in self._taps:
            self._frames += tap.read()
        if self._feed:
            self._marks += self._feed.read()
            self._feed.close()
        dropped = sum(tap.dropped() for tap in self._taps)
        self._trace = Trace(tuple(frame.decode() for frame in self._frames), dropped, marks=tuple(self._marks))
        self._frames = []
        # The kernel takes its time over closing packet sockets, and nobody needs to wait for it.
        threading.Thread(target=close_all, args=(self._taps,), name="capture-close").start()

    def _read(self) -> None:
        """Take packets off the sockets as they come, so that the kernel needs to drop none."""
        assert self._feed  # noqa: S101 - `__enter__` has just made it
        for sources in ready(self._taps, self._feed, self._stop):
            for source in sources:
                if isinstance(source, Tap):
                    self._frames += source.read()
                else:
                    self._marks += source.read()


def arm_all(lab: RunningLab, targets: Iterable[tuple[str, str]], expression: str = "") -> list[Tap]:
    """Arm (node, interface) pairs, all with the same filter, or none of them.

    Args:
        expression: in tcpdump's language (pcap-filter(7)); names in it are the lab's own.

    Raises:
        UsageError: no such node or interface, or no such expression.
        MissingToolError: there is an expression, and no tcpdump to compile it.
    """
    taps: list[Tap] = []
    try:
        for node, interface in targets:
            instructions = compile_filter(lab, node, expression) if expression else b""
            taps.append(Tap(lab, node, interface, instructions))
    except BaseException:
        close_all(taps)
        raise
    return taps


def close_all(taps: Iterable[Tap]) -> None:
    """Disarm."""
    for tap in taps:
        tap.socket.close()


def ready(taps: Sequence[Tap], feed: MarkFeed, stop: int) -> Iterator[list[Tap | MarkFeed]]:
    """Yield those on which something has arrived, until the lab is down or the descriptor `stop` becomes readable."""
    sources: list[Tap | MarkFeed] = [*taps, feed]
    by_descriptor = {source.fileno(): source for source in sources}
    poll = select.poll()
    for descriptor in (*by_descriptor, stop):
        poll.register(descriptor, select.POLLIN)
    while not feed.ended:
        readable = [descriptor for descriptor, _event in poll.poll()]
        if stop in readable:
            return
        yield [by_descriptor[descriptor] for descriptor in readable]


def compile_filter(lab: RunningLab, node: str, expression: str) -> bytes:
    """Return the BPF instructions (struct sock_filter) of an expression, compiled by the node's tcpdump.

    Raises:
        UsageError: tcpdump cannot parse it; carries what it says.
        MissingToolError: there is no tcpdump.
    """
    find_tool("tcpdump")
    planned = next((found for found in lab.plan.nodes if found.name == node), None)
    if planned is None:
        msg = f'no node named "{node}"; this lab has {", ".join(found.name for found in lab.plan.nodes)}'
        raise UsageError(msg)
    compiler = ["tcpdump", "-ddd", "-y", "EN10MB", expression]
    try:
        if lab.find(node, compiler[0], search_path()):
            with Process(lab, planned, compiler, cwd=Path("/")) as tcpdump:
                _count, *instructions = tcpdump.wait().check().stdout.splitlines()
        else:  # the node is a container; the machine's own knows no names of the lab, but all the rest
            _count, *instructions = output_of(compiler).splitlines()
    except LabError as error:
        msg = f'filter "{expression}": {str(error).rpartition("tcpdump: ")[2]}'
        raise UsageError(msg) from error
    return b"".join(_INSTRUCTION.pack(*map(int, line.split())) for line in instructions)


def _attach_filter(made: socket.socket, instructions: bytes) -> None:
    memory = ctypes.create_string_buffer(instructions)
    count = len(instructions) // _INSTRUCTION.size
    made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", count, ctypes.addressof(memory)))
