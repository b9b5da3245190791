"""`lab capture`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from operator import attrgetter
from typing import BinaryIO

from lab.backends.base import MarkFeed
from lab.backends.owned.client import attach
from lab.capture import Frame, Tap, arm_all, close_all, ready
from lab.cli.chosen import chosen_lab
from lab.errors import UsageError
from lab.faults.model import Mark
from lab.running import Lab
from lab.trace.notation import Printer
from lab.trace.pcap import PcapWriter


def run(options: argparse.Namespace) -> int:
    """Print or save packets, and print marks, until Ctrl-C, the lab's end or the count; then say how many they were."""
    stop = _end_on_signals()
    lab = Lab(attach(chosen_lab(options.lab)))
    taps = arm_all(lab.backend, lab.targets(options.target), " ".join(options.expression))
    with ExitStack() as stack:
        stack.callback(close_all, taps)
        feed = lab.backend.watch()
        stack.callback(feed.close)
        take = _writer(stack, options.write) if options.write else _printer()
        print(
            f"capturing on {', '.join(f'{tap.node}:{tap.interface}' for tap in taps)}",
            file=sys.stderr,
            flush=True,
        )
        seen = _pump(taps, feed, take, options.count, stop)
        dropped = sum(tap.dropped() for tap in taps)
    print(f"{seen} packets captured, {dropped} dropped by the kernel", file=sys.stderr)
    return 0


def _end_on_signals() -> int:
    """Return a descriptor that is readable from the first Ctrl-C on."""
    stop = os.eventfd(0, os.EFD_CLOEXEC)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os.eventfd_write(stop, 1))
    return stop


def _pump(taps: list[Tap], feed: MarkFeed, take: Callable[[Frame | Mark], None], count: int | None, stop: int) -> int:
    """Hand everything on until `stop`, the lab's end or the count of frames; what has arrived then is still taken."""
    seen = 0
    for some in ready(taps, feed, stop):
        for one in _all(some):
            take(one)
            seen += isinstance(one, Frame)
            if seen == count:
                return seen
    for one in _all([*taps, feed]):
        take(one)
        seen += isinstance(one, Frame)
    return seen


def _all(sources: list[Tap | MarkFeed]) -> list[Frame | Mark]:
    """Return what has arrived on these, by time."""
    return sorted((one for source in sources for one in source.read()), key=attrgetter("time_ns"))


def _printer() -> Callable[[Frame | Mark], None]:
    printer = Printer()

    def take(one: Frame | Mark) -> None:
        print(printer.mark(one) if isinstance(one, Mark) else printer.line(one.decode()), flush=True)

    return take


def _writer(stack: ExitStack, path: str) -> Callable[[Frame | Mark], None]:
    try:
        file: BinaryIO = sys.stdout.buffer if path == "-" else stack.enter_context(open(path, "wb"))  # noqa: PTH123, SIM115
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise UsageError(msg) from error
    writer = PcapWriter(file)

    def take(one: Frame | Mark) -> None:
        if isinstance(one, Frame):  # a pcap file has no place for anything else
            writer.write(one.time_ns, one.data, one.length)
            file.flush()

    return take
