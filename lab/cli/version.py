"""`lab` without a command, and `lab --version`."""

from __future__ import annotations

import argparse

from lab.cli.parser import make_parser


def run(options: argparse.Namespace) -> int:
    """Print the version, or the help."""
    if options.version:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and only wanted here

        print(f"lab {version('lab')}")
    else:
        make_parser().print_help()
    return 0
