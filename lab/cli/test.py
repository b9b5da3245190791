"""`lab test`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from lab.book import SCENARIOS, titles


def run(options: argparse.Namespace) -> NoReturn:
    """Become pytest, with its exit codes."""
    titles()  # there are none outside of a checkout
    chosen = ["--book", options.book] if options.book else []
    command = [sys.executable, "-P", "-m", "pytest", str(SCENARIOS), *chosen, *options.arguments]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is what is wanted
