"""`lab schema`."""

from __future__ import annotations

import argparse
import json

from lab.services.table import KINDS
from lab.spec import topology_schema


def run(_options: argparse.Namespace) -> int:
    """Print the JSON Schema of topology files."""
    print(json.dumps(topology_schema(KINDS), indent=2))
    return 0
