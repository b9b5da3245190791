"""`lab inspect`."""

from __future__ import annotations

import argparse
import json

from lab.backends.netns.client import NetnsBackend
from lab.cli.chosen import chosen_lab
from lab.cli.table import table
from lab.plan.text import render


def run(options: argparse.Namespace) -> int:
    """Show what a running lab is made of, and what runs in it."""
    backend = NetnsBackend()
    lab = backend.attach(chosen_lab(options.lab))
    processes = lab.processes()
    if options.format == "json":
        print(json.dumps({"plan": lab.plan.to_data(), "processes": processes}, indent=2))
        return 0
    print(render(lab.plan).rstrip("\n"))
    rows = [(str(process["pid"]), process["node"], " ".join(process["command"])) for process in processes]
    print()
    print(table(("PID", "NODE", "COMMAND"), rows) if rows else "no processes")
    return 0
