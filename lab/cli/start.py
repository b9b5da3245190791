"""`lab start`."""

from __future__ import annotations

import argparse

from lab.cli.faults import attached, carry_out
from lab.faults.model import Fault
from lab.services.start import await_ready


def run(options: argparse.Namespace) -> int:
    """Start the nodes, and return once their services are ready."""
    lab = attached(options.lab)
    for node in options.nodes:
        carry_out(lab, Fault("start", (node,)))
        await_ready(lab, node)
    return 0
