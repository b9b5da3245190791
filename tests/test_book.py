"""The book's list, its scenarios, and what `lab book` and `lab test` make of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lab.book import Scenario, by_section, is_within, scenarios, titles

pytest_plugins = ["pytester"]

_SCENARIO = """
    import pytest

    def breaks(lab):
        pass

    @pytest.fixture
    def lab(request, mutant):
        if mutant:
            request.applymarker(pytest.mark.xfail(strict=True))
        return "broken" if mutant else "whole"

    @pytest.mark.book("2.6.2")
    @pytest.mark.mutant("it is broken", breaks)
    @pytest.mark.mutant("it is broken too", breaks)
    def test_shows(lab):
        assert lab == "whole"

    @pytest.mark.book("3.5")
    @pytest.mark.mutant("not that it would matter", breaks)
    def test_shows_nothing(lab):
        pass

    @pytest.mark.book("3.6")
    @pytest.mark.parametrize("number", [1, 2])
    def test_fails_once(number):
        assert number == 1

    def test_of_no_section():
        pass
"""


@pytest.fixture(scope="module")
def found() -> tuple[Scenario, ...]:
    return scenarios()


def test_every_section_of_the_list_has_a_scenario(found: tuple[Scenario, ...]) -> None:
    assert [section.section for section in by_section(titles(), found) if not section.scenarios] == []


def test_every_scenario_of_the_book_is_of_a_section_of_the_list(found: tuple[Scenario, ...]) -> None:
    listed = titles()
    strays = {
        one.test: section for one in found for section in one.sections if not any(is_within(section, a) for a in listed)
    }
    assert strays == {}


def test_every_scenario_of_the_book_has_a_mutant(found: tuple[Scenario, ...]) -> None:
    assert [one.test for one in found if not one.mutants] == []


@pytest.mark.parametrize(
    ("section", "whole", "within"),
    [
        ("3.5.1", "3.5", True),
        ("3.5", "3.5", True),
        ("3", "3.5", False),
        ("3.10", "3.1", False),
        ("3.10", "3.", True),
        ("springsnail", "springsnail", True),
    ],
)
def test_a_part_of_a_section_is_within_it(section: str, whole: str, within: bool) -> None:  # noqa: FBT001
    assert is_within(section, whole) is within


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_results_are_kept_from_run_to_run(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makepyfile(_SCENARIO)
    pytester.runpytest_subprocess(*workers).assert_outcomes(passed=4, failed=1)
    pytester.runpytest_subprocess("--mutants", "-k", "shows", *workers).assert_outcomes(xfailed=2, failed=1)

    kept = {one.test.partition("::")[2]: one for one in scenarios(pytester.path)}
    assert {name: (one.sections, one.last, one.caught, len(one.mutants)) for name, one in kept.items()} == {
        "test_shows": (("2.6.2",), "passed", 2, 2),
        "test_shows_nothing": (("3.5",), "passed", 0, 1),
        "test_fails_once": (("3.6",), "failed", 0, 0),
    }


def test_without_a_cache_nothing_is_kept(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(_SCENARIO)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=4, failed=1)
    assert {one.last for one in scenarios(pytester.path)} == {""}


def test_scenarios_that_cannot_be_collected_say_why(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import no_such_module")
    command = [
        sys.executable,
        "-P",
        "-c",
        "import sys, pathlib, lab.book; lab.book.scenarios(pathlib.Path(sys.argv[1]))",
    ]
    done = subprocess.run([*command, str(pytester.path)], capture_output=True, text=True, check=False)
    assert "pytest cannot collect" in done.stderr
    assert "No module named 'no_such_module'" in done.stderr


def test_a_folder_without_a_list_is_no_checkout(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(Exception, match=r"there is no \S+/book.yaml: the scenarios are in a checkout of the project"):
        titles(tmp_path_factory.mktemp("nowhere"))


def test_the_book_is_printed_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    from lab.cli import main  # noqa: PLC0415 - as the command does

    assert main(["book"]) == 0
    text = capsys.readouterr().out
    assert main(["book", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [section["section"] for section in data] == list(titles())
    for section in data:
        assert section["title"] in text
        assert all(one["test"].rpartition("/")[2] in text for one in section["scenarios"])


def test_a_section_is_run_by_pytest() -> None:
    command = [sys.executable, "-P", "-m", "lab.cli", "test", "--book", "2.6", "--collect-only", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tests = [line for line in done.stdout.splitlines() if "::" in line]
    assert tests
    assert all("test_icmp_redirect" in test for test in tests)
