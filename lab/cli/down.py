"""`lab down`."""

from __future__ import annotations

import argparse

from lab.backends.owned import registry
from lab.backends.owned.client import attach
from lab.backends.table import BACKENDS
from lab.cli.chosen import chosen_lab


def run(options: argparse.Namespace) -> int:
    """Take the labs down, one after the other."""
    names = registry.names() if options.all else options.labs or [chosen_lab(None)]
    for lab in [attach(name) for name in names]:  # all are looked for before any goes down
        lab.down()
        print(f"{lab.name} is down")
    if options.all:
        for backend in BACKENDS.values():
            backend().collect()
    return 0
