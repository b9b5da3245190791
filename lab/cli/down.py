"""`lab down`."""

from __future__ import annotations

import argparse

from lab.backends.netns import registry
from lab.backends.netns.client import NetnsBackend
from lab.cli.chosen import chosen_lab


def run(options: argparse.Namespace) -> int:
    """Take the labs down, one after the other."""
    backend = NetnsBackend()
    for name in registry.names() if options.all else options.labs or [chosen_lab(None)]:
        backend.attach(name).down()
        print(f"{name} is down")
    return 0
