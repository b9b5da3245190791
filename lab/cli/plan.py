"""`lab plan`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lab.load import load
from lab.plan.planner import plan
from lab.plan.text import render
from lab.services import kinds


def run(options: argparse.Namespace) -> int:
    """Print the plan of a topology file."""
    planned = plan(load(Path(options.file), kinds))
    print(json.dumps(planned.to_data(), indent=2) if options.format == "json" else render(planned).rstrip("\n"))
    return 0
