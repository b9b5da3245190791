from __future__ import annotations

from pathlib import Path

from tests.scenario_table import SCENARIOS, outcomes, page

REPORT = """<testsuites><testsuite>
<testcase classname="scenarios.test_proxy" name="one"/>
<testcase classname="scenarios.test_proxy" name="two"><failure message="no"/></testcase>
<testcase classname="scenarios.test_tools" name="three"><skipped message="no such tool"/></testcase>
</testsuite></testsuites>
"""


def test_the_table_has_every_file_of_scenarios_with_its_outcome_on_each_backend(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    found = page({"here": outcomes(tmp_path / "report.xml")}).splitlines()
    rows = {line.split("`")[1]: line for line in found if line.startswith("| `")}
    assert sorted(rows) == sorted(path.name for path in SCENARIOS.glob("test_*.py"))
    assert rows["test_proxy.py"].endswith(" | 1, 1 failed |")
    assert rows["test_tools.py"].endswith(" | 0, 1 skipped |")
    assert rows["test_echo.py"].endswith(" | not run |")
    assert found[-1] == "- no such tool (1)"
