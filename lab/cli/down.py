"""`lab down`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from lab.backends.owned import registry
from lab.backends.owned.client import attach
from lab.backends.table import BACKENDS
from lab.cli.chosen import chosen_lab
from lab.errors import BackendError, LabError, UsageError


def run(options: argparse.Namespace) -> int:
    """Take the labs down, one after the other; one that makes trouble keeps none of the others up.

    Raises:
        LabError: the trouble that there was, once all others are down.
    """
    names = registry.names() if options.all else options.labs or [chosen_lab(None)]
    if not options.all:
        for name in names:
            attach(name)  # all are looked for before any goes down
    collecting = [backend().collect for backend in BACKENDS.values()] if options.all else []
    _raise(list(_troubles([*(_taking_down(name) for name in names), *collecting])))
    return 0


def _taking_down(name: str) -> Callable[[], None]:
    def take_down() -> None:
        try:
            attach(name).down()
        except UsageError:
            if name in registry.names():
                raise
            # It went down by itself meanwhile.
        print(f"{name} is down", flush=True)

    return take_down


def _troubles(steps: list[Callable[[], None]]) -> Iterator[LabError]:
    """Take all steps, and yield the errors of those that fail."""
    for step in steps:
        try:
            step()
        except LabError as error:
            yield error


def _raise(troubles: list[LabError]) -> None:
    """Raise the only error as it is, and several as one."""
    if len(troubles) == 1:
        raise troubles[0]
    if troubles:
        raise BackendError("; ".join(map(str, troubles))) from troubles[0]
