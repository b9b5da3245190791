"""`lab inspect`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from lab.backends.owned.client import attach
from lab.cli.chosen import chosen_lab
from lab.cli.table import table
from lab.faults.model import FaultState
from lab.plan.model import Plan
from lab.plan.text import render
from lab.services.state import state
from lab.spec.quoting import harmless


def run(options: argparse.Namespace) -> int:
    """Show what a running lab is made of, and what runs in it."""
    lab = attach(chosen_lab(options.lab))
    processes, services, faults = lab.processes(), lab.services(), lab.faults()
    if options.format == "json":
        statuses = [asdict(service) for service in services]
        running = {"processes": processes, "services": statuses, "faults": asdict(faults)}
        print(json.dumps({"plan": lab.plan.to_data(), **running}, indent=2))
        return 0
    print(render(lab.plan).rstrip("\n"))
    if services:
        print()
        states = [(service.node, service.name, state(service), str(service.pid)) for service in services]
        print(table(("NODE", "SERVICE", "STATE", "PID"), states))
    print("\n".join(["", *fault_lines(faults, lab.plan)]))
    rows = [(str(process["pid"]), process["node"], harmless(" ".join(process["command"]))) for process in processes]
    print()
    print(table(("PID", "NODE", "COMMAND"), rows) if rows else "no processes")
    return 0


def fault_lines(faults: FaultState, plan: Plan) -> Iterator[str]:
    """Yield what is wrong with the lab now, what was done to it, and what its timeline still has in store."""
    yield f"cut: {'; '.join(faults.cuts) or 'nothing'}"
    yield f"killed: {', '.join(faults.off) or 'nothing'}"
    if faults.marks:
        times = [datetime.fromtimestamp(mark.time_ns / 1e9, UTC).astimezone() for mark in faults.marks]
        rows = [(f"{time:%H:%M:%S.%f}", mark.text) for time, mark in zip(times, faults.marks, strict=True)]
        yield table(("TIME", "DONE"), rows)
    if plan.timeline:
        left = "it has not begun" if faults.pending is None else f"{faults.pending} still to come"
        yield f"timeline: {len(plan.timeline)} events; {left}"
