"""`lab exec`: this process becomes the program, so terminal, signals and exit code are the program's own.

`lab/cli/lab`, the command that a user calls, does the same by itself where there is nothing to choose or to explain.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import NoReturn

from lab.backends.owned.client import attach
from lab.cli.chosen import chosen_lab
from lab.errors import UsageError


def run(options: argparse.Namespace) -> NoReturn:
    """Run the program in the node."""
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program:
        msg = f"no program to run; write: lab exec {options.node} -- PROGRAM [ARGUMENT...]"
        raise UsageError(msg)
    become(chosen_lab(options.lab), options.node, program)


def become(lab: str, node: str, program: Sequence[str]) -> NoReturn:
    """Replace this process by the program in the node."""
    arguments = [*attach(lab).entrance(node), *program]
    os.execv(arguments[0], arguments)  # noqa: S606 - no shell is wanted
