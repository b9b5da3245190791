"""`lab partition`."""

from __future__ import annotations

import argparse

from lab.cli.faults import attached, carry_out
from lab.faults.model import Fault


def run(options: argparse.Namespace) -> int:
    """Part the groups."""
    carry_out(attached(options.lab), Fault("partition", tuple(options.targets)))
    return 0
