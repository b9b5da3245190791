"""`lab restore`."""

from __future__ import annotations

import argparse

from lab.cli.faults import attached, carry_out
from lab.faults.model import Fault


def run(options: argparse.Namespace) -> int:
    """Undo a cut, or all of them."""
    carry_out(attached(options.lab), Fault("restore", tuple(options.targets)))
    return 0
