"""`lab restart`."""

from __future__ import annotations

import argparse

from lab.backends.owned.client import attach
from lab.cli.chosen import chosen_lab
from lab.services.service import service_of


def run(options: argparse.Namespace) -> int:
    """Stop a service and start it again."""
    lab = attach(chosen_lab(options.lab))
    service_of(lab, options.node, options.service).restart()
    print(f"{options.node}: {options.service} is ready")
    return 0
