"""`lab shell`."""

from __future__ import annotations

import argparse
import os
import shutil
from typing import NoReturn

from lab.cli.chosen import chosen_lab
from lab.cli.execute import become


def run(options: argparse.Namespace) -> NoReturn:
    """Become the user's shell, in the node."""
    shell = os.environ.get("SHELL", "")
    become(chosen_lab(options.lab), options.node, [shell if shutil.which(shell) else "/bin/sh"])
