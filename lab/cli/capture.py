"""`lab capture`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import BinaryIO

from lab.backends.netns.client import NetnsBackend
from lab.capture import Frame, Tap, arm_all, close_all, ready_taps
from lab.cli.chosen import chosen_lab
from lab.errors import UsageError
from lab.running import Lab
from lab.trace.notation import Printer
from lab.trace.pcap import PcapWriter


def run(options: argparse.Namespace) -> int:
    """Print or save packets until Ctrl-C or the count; then say how many there were."""
    stop = _end_on_signals()
    lab = Lab(NetnsBackend().attach(chosen_lab(options.lab)))
    taps = arm_all(lab.backend, lab.targets(options.target), " ".join(options.expression))
    with ExitStack() as stack:
        stack.callback(close_all, taps)
        take = _writer(stack, options.write) if options.write else _printer()
        print(
            f"capturing on {', '.join(f'{tap.node}:{tap.interface}' for tap in taps)}",
            file=sys.stderr,
            flush=True,
        )
        seen = _pump(taps, take, options.count, stop)
        dropped = sum(tap.dropped() for tap in taps)
    print(f"{seen} packets captured, {dropped} dropped by the kernel", file=sys.stderr)
    return 0


def _end_on_signals() -> int:
    """Return a descriptor that is readable from the first Ctrl-C on."""
    stop = os.eventfd(0, os.EFD_CLOEXEC)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os.eventfd_write(stop, 1))
    return stop


def _pump(taps: list[Tap], take: Callable[[Frame], None], count: int | None, stop: int) -> int:
    """Hand every frame on until `stop` or the count ends it; what has arrived by then is still taken."""
    seen = 0
    for tap in ready_taps(taps, stop):
        for frame in tap.read():
            take(frame)
            seen += 1
            if seen == count:
                return seen
    for frame in (frame for tap in taps for frame in tap.read()):
        take(frame)
        seen += 1
    return seen


def _printer() -> Callable[[Frame], None]:
    printer = Printer()
    return lambda frame: print(printer.line(frame.decode()), flush=True)


def _writer(stack: ExitStack, path: str) -> Callable[[Frame], None]:
    try:
        file: BinaryIO = sys.stdout.buffer if path == "-" else stack.enter_context(open(path, "wb"))  # noqa: PTH123, SIM115
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise UsageError(msg) from error
    writer = PcapWriter(file)

    def take(frame: Frame) -> None:
        writer.write(frame.time_ns, frame.data, frame.length)
        file.flush()

    return take
