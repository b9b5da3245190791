"""`lab ls`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict

from lab.backends.owned.client import running
from lab.cli.table import table


def run(options: argparse.Namespace) -> int:
    """List this user's labs."""
    labs = running()
    if options.format == "json":
        print(json.dumps([asdict(lab) for lab in labs], indent=2))
        return 0
    rows = [
        (lab.name, lab.backend, str(lab.nodes), _age(time.time() - lab.since), str(lab.owner), lab.source)
        for lab in labs
    ]
    print(table(("NAME", "BACKEND", "NODES", "UP FOR", "OWNER", "FILE"), rows))
    return 0


def _age(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"
