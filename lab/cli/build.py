"""`lab build`."""

from __future__ import annotations

import argparse

from lab import servers


def run(options: argparse.Namespace) -> int:
    """Build the project's own servers."""
    servers.build(options.preset, tuple(options.programs))
    return 0
