"""`lab up`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sized
from dataclasses import replace
from pathlib import Path
from typing import Self

from lab.backends.table import BACKENDS
from lab.errors import UsageError
from lab.servers import SOURCES
from lab.services import kinds, start_all


def run(options: argparse.Namespace) -> int:
    """Bring the topology up and leave it running."""
    started = time.monotonic()
    backend = BACKENDS[options.backend]()
    backend.prepare()  # it imports while we read the file
    try:
        from lab.load import load  # noqa: PLC0415
        from lab.plan.planner import plan  # noqa: PLC0415

        file = Path(options.file)
        planned = plan(load(file, kinds))
        if options.name is not None:
            planned = replace(planned, name=checked_name(options.name))
        shared = [Path.cwd(), file.resolve().parent, Path(sys.prefix), Path(sys.base_prefix), SOURCES]
        with Progress() as progress:
            lab = backend.up(
                planned,
                source=str(file.resolve()),
                detached=True,
                shared=shared,
                on_step=progress.show if progress.is_seen else None,
                settle=lambda lab: start_all(lab, progress.show),
            )
        if planned.timeline:
            lab.start_timeline()
    finally:
        backend.close()
    if options.format == "json":
        print(json.dumps(planned.to_data(), indent=2))
        return 0
    parts = f"{_count(planned.nodes, 'node')}, {_count(planned.networks, 'network')}"
    print(f"{planned.name} is up: {parts}, {time.monotonic() - started:.2f} s")
    for note in planned.notes:
        print(f"note: {note}")
    if planned.timeline:
        last = planned.timeline[-1].at_us / 1e6
        print(f"timeline: {len(planned.timeline)} events from now on, the last after {last:g} s")
    first = planned.nodes[0].name
    print(f"try: lab exec {first} -- ip addr | lab shell {first} | lab capture {first} | lab down {planned.name}")
    return 0


def checked_name(name: str) -> str:
    """Return the name, if a lab can have it.

    Raises:
        UsageError: it cannot; says what can.
    """
    from lab.spec.values import lab_name  # noqa: PLC0415 - imported while the backend prepares itself

    try:
        return lab_name(name)
    except ValueError as error:
        msg = f"--name: {error}"
        raise UsageError(msg) from error


class Progress:
    """Shows the step being taken, on a terminal, in one line that is gone at the end."""

    @property
    def is_seen(self) -> bool:
        """Whether there is a terminal."""
        return sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def show(self, step: str) -> None:
        """Show a step in place of the one before."""
        if self.is_seen:
            print(f"\r\x1b[K{step}", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_error: object) -> None:
        if self.is_seen:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
