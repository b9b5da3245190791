"""The book's sections and the scenarios that show them: the list, what pytest collects, and the last results."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.errors import LabError, UsageError

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
_RESULTS = "lab/results"  # where pytest's cache has them


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario as pytest collects it.

    Attributes:
        test: its node id, without parameters.
        sections: the book's, by its marks.
        mutants: their names.
        results: the last outcomes, of it and of its mutants, by node id: "passed" (of a mutant: caught), "failed",
            "skipped".
    """

    test: str
    sections: tuple[str, ...]
    mutants: tuple[str, ...]
    results: Mapping[str, str]

    @property
    def last(self) -> str:
        """The result of its last run, the worst if it has parameters; "" if it never ran."""
        own = {outcome for test, outcome in self.results.items() if not any(map(test.endswith, self._endings))}
        return next((outcome for outcome in ("failed", "passed", "skipped") if outcome in own), "")

    @property
    def caught(self) -> int:
        """How many of its mutants were caught when they ran last."""
        return sum(
            any(test.endswith(ending) and outcome == "passed" for test, outcome in self.results.items())
            for ending in self._endings
        )

    @property
    def _endings(self) -> tuple[str, ...]:
        return tuple(f"{mutant}]" for mutant in self.mutants)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the book and its scenarios."""

    section: str
    title: str
    scenarios: tuple[Scenario, ...]


def titles(folder: Path = SCENARIOS) -> dict[str, str]:
    """Return the titles of the listed sections, by section.

    Raises:
        UsageError: there is no list: this is no checkout of the project.
    """
    path = folder / "book.yaml"
    if not path.is_file():
        msg = f"there is no {path}: the scenarios are in a checkout of the project"
        raise UsageError(msg)
    return {entry["section"]: entry["title"] for entry in yaml.safe_load(path.read_text(encoding="utf-8"))}


def is_within(section: object, whole: str) -> bool:
    """Whether a section is `whole` or a part of it: "3.5.1" is within "3.5", "3.10" is not within "3.1"."""
    return f"{section}.".startswith(whole.rstrip(".") + ".")


def scenarios(folder: Path = SCENARIOS) -> tuple[Scenario, ...]:
    """Return the scenarios that have a `book` mark.

    Raises:
        LabError: pytest cannot collect them.
    """
    collector = _Collector()
    # It minds that this package was imported before it, which matters to a run only.
    quiet = ["-q", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["--collect-only", *quiet, str(folder)], plugins=[collector])
    if code != pytest.ExitCode.OK:
        msg = f"pytest cannot collect {folder}: {said.getvalue()}"
        raise LabError(msg)
    return tuple(collector.found)


def by_section(listed: Mapping[str, str], found: Iterable[Scenario]) -> tuple[Section, ...]:
    """Return every section of the list with the scenarios that are within it."""
    having = tuple(found)
    return tuple(
        Section(section, title, tuple(one for one in having if any(is_within(own, section) for own in one.sections)))
        for section, title in listed.items()
    )


@dataclass(slots=True)
class _Collector:
    found: list[Scenario] = field(default_factory=list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        cache = session.config.cache
        results: Mapping[str, str] = cache.get(_RESULTS, {}) if cache else {}
        tests = {_plain(item.nodeid): item for item in session.items}
        for test, item in tests.items():
            sections = tuple(str(mark.args[0]) for mark in item.iter_markers("book"))
            if sections:
                mutants = tuple(mark.args[0] for mark in item.iter_markers("mutant"))
                own = {one: outcome for one, outcome in results.items() if _plain(one) == test}
                self.found.append(Scenario(test, sections, mutants, own))


class Recorder:
    """A pytest plugin that keeps how every scenario of the book ended, for `lab book`."""

    def __init__(self, cache: pytest.Cache) -> None:
        self._cache = cache
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the worst of setup, call and teardown."""
        if "book" in report.keywords and (report.when == "call" or not report.passed):
            caught = report.skipped and hasattr(report, "wasxfail")
            if self._outcomes.get(report.nodeid) != "failed":
                self._outcomes[report.nodeid] = "passed" if caught else report.outcome

    def pytest_sessionfinish(self) -> None:
        """Keep them."""
        if self._outcomes:
            known: dict[str, Any] = self._cache.get(_RESULTS, {})
            self._cache.set(_RESULTS, {**known, **self._outcomes})


def _plain(test: str) -> str:
    return test.partition("[")[0]
