"""Which scenarios run on which backend, from runs of pytest: `python -m tests.scenario_table BACKEND=JUNIT.xml...`.

Prints docs/backends.md; script/backends makes the runs.
"""

from __future__ import annotations

import ast
import sys
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SCENARIOS = Path(__file__).parents[1] / "scenarios"
_HEAD = """\
# Scenarios and backends

How many tests of each file in `scenarios/` pass on each backend. `script/backends` makes this page from a run.

"""


@dataclass
class Outcomes:
    """How the tests of a file ended on a backend.

    Attributes:
        reasons: why tests were skipped, with how many.
    """

    passed: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        notes = [f"{self.failed} failed"] if self.failed else []
        notes += [f"{count} skipped" for count in [self.reasons.total()] if count]
        return ", ".join([str(self.passed), *notes])


def outcomes(report: Path) -> dict[str, Outcomes]:
    """Return the outcomes by file, of a report in JUnit's format."""
    found: dict[str, Outcomes] = defaultdict(Outcomes)
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest has just written it
        own = found[case.get("classname", "").rpartition(".")[2]]
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            own.failed += 1
        elif skipped is not None:
            own.reasons[skipped.get("message", "")] += 1
        else:
            own.passed += 1
    return found


def page(runs: Mapping[str, Mapping[str, Outcomes]]) -> str:
    """Return the page of these runs, by backend."""
    return _HEAD + "\n".join([*_table(runs), *_reasons(runs)]) + "\n"


def _table(runs: Mapping[str, Mapping[str, Outcomes]]) -> Iterator[str]:
    yield f"| scenarios | {' | '.join(runs)} |"
    yield f"|---|{'---:|' * len(runs)}"
    for path in sorted(SCENARIOS.glob("test_*.py")):
        cells = [str(run.get(path.stem, "not run")) for run in runs.values()]
        yield f"| {_title(path)} | {' | '.join(cells)} |"


def _reasons(runs: Mapping[str, Mapping[str, Outcomes]]) -> Iterator[str]:
    for backend, run in runs.items():
        reasons = Counter[str]()
        for own in run.values():
            reasons += own.reasons
        if reasons:
            yield ""
            yield f"Skipped on {backend}:"
            yield ""
            yield from (f"- {reason} ({count})" for reason, count in sorted(reasons.items()))


def _title(path: Path) -> str:
    """Return a file's name and the first line of its docstring."""
    said = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()
    return f"`{path.name}` {said[0].replace('|', '/')}" if said else f"`{path.name}`"


if __name__ == "__main__":
    reports = (argument.partition("=") for argument in sys.argv[1:])
    sys.stdout.write(page({backend: outcomes(Path(report)) for backend, _, report in reports}))
