"""`lab down`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

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
    steps: list[Callable[[], None]] = [partial(_take_down, name) for name in names]
    if options.all:
        steps += [backend().collect for backend in BACKENDS.values()]
    else:
        for name in names:
            attach(name)  # all are looked for before any goes down
    _raise(list(_troubles(steps)))
    return 0


def _take_down(name: str) -> None:
    try:
        attach(name).down()
    except UsageError:
        if name in registry.names():
            raise
        # It went down by itself meanwhile.
    print(f"{name} is down", flush=True)


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
