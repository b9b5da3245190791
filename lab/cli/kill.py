"""`lab kill`."""

from __future__ import annotations

import argparse

from lab.cli.faults import attached, carry_out
from lab.faults.model import Fault


def run(options: argparse.Namespace) -> int:
    """Kill the nodes."""
    lab = attached(options.lab)
    for node in options.nodes:
        carry_out(lab, Fault("kill", (node,)))
    return 0
