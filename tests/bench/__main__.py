"""The command line behind script/bench."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from tests.bench.race import race
from tests.bench.report import as_json, as_text

_MOST_HOSTS = 100  # ten times as many still fit one bridge


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("a number from 1 upwards")
    return count


def _hosts(text: str) -> int:
    hosts = _count(text)
    if hosts > _MOST_HOSTS:
        raise argparse.ArgumentTypeError(f"a number up to {_MOST_HOSTS}: labs ten times as large are built, too")
    return hosts


def main() -> None:
    """Run the race and print it."""
    parser = argparse.ArgumentParser(prog="script/bench", description=sys.modules["tests.bench"].__doc__)
    parser.add_argument("--hosts", type=_hosts, default=100, help="labs have N, 2N and 10N (default 100)", metavar="N")
    parser.add_argument("--rounds", type=_count, default=5, help="medians are of so many (default 5)", metavar="N")
    parser.add_argument("--json", type=Path, help="write the figures there as well", metavar="FILE")
    options = parser.parse_args()
    if not shutil.which("gcc"):
        parser.exit(3, "script/bench: the floor is a C program; apt-get install gcc libc6-dev\n")
    figures = race(options.hosts, options.rounds)
    sys.stdout.write(as_text(figures))
    if options.json:
        options.json.write_text(as_json(figures))


if __name__ == "__main__":
    main()
