"""`lab cut`."""

from __future__ import annotations

import argparse

from lab.cli.faults import attached, carry_out
from lab.faults.model import Fault


def run(options: argparse.Namespace) -> int:
    """Cut what was named."""
    carry_out(attached(options.lab), Fault("cut", tuple(options.targets), options.carrier))
    return 0
