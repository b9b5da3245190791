"""`lab book`."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict

from lab import book
from lab.cli.table import table


def run(options: argparse.Namespace) -> int:
    """Print the book's sections with the scenarios of each."""
    sections = book.by_section(book.titles(), book.scenarios())
    if options.format == "json":
        print(json.dumps([asdict(section) for section in sections], indent=2, ensure_ascii=False))
        return 0
    rows = [row for section in sections for row in _rows(section)]
    print(table(("BOOK", "TITLE AND SCENARIOS", "MUTANTS CAUGHT", "LAST RESULT"), rows))
    total = Counter(
        scenario.last or "not run" for scenario in {one.test: one for s in sections for one in s.scenarios}.values()
    )
    print(f"\n{sum(total.values())} scenarios: {', '.join(f'{count} {last}' for last, count in sorted(total.items()))}")
    return 0


def _rows(section: book.Section) -> list[tuple[str, str, str, str]]:
    rows = [(section.section, section.title, "", "" if section.scenarios else "no scenario")]
    for one in section.scenarios:
        name = one.test.removeprefix("scenarios/")
        rows.append(("", f"  {name}", f"{one.caught} of {len(one.mutants)}", one.last or "not run"))
    return rows
