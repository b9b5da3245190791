"""The project's promises about speed and size, as ratios within one run of script/bench."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.bench

_BENCH = Path(__file__).parents[1] / "script" / "bench"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    subprocess.run([_BENCH, "--hosts", "100", "--rounds", "5", "--json", file], check=True)
    figures: dict[str, Any] = json.loads(file.read_text())
    return figures


@pytest.mark.parametrize("hosts", ["100", "200"])
def test_a_lab_comes_up_within_twice_the_time_of_the_floor(figures: dict[str, Any], hosts: str) -> None:
    labs = figures["labs"]
    assert labs["lab"][hosts]["up"] / labs["floor"][hosts]["up"] <= 2


@pytest.mark.parametrize("hosts", ["100", "200"])
def test_a_lab_comes_up_within_twice_the_time_of_a_c_program_that_does_the_same(
    figures: dict[str, Any], hosts: str
) -> None:
    """Hosts files, mounts, sysctls and offloads on both sides; `floor` alone makes bare network namespaces."""
    labs = figures["labs"]
    assert labs["lab"][hosts]["up"] / labs["floor --full"][hosts]["up"] <= 2


def test_a_host_takes_about_as_long_among_a_thousand_as_among_a_hundred(figures: dict[str, Any]) -> None:
    lab = figures["labs"]["lab"]
    assert (lab["1000"]["up"] / 1000) / (lab["100"]["up"] / 100) <= 1.5


def test_a_lab_comes_up_and_goes_down_15_times_faster_than_mininet(figures: dict[str, Any]) -> None:
    if "mininet" in figures["missing"]:
        pytest.skip(f"Mininet: {figures['missing']['mininet']}")
    ours, theirs = (figures["labs"][name]["100"] for name in ("lab", "mininet"))
    assert (theirs["up"] + theirs["down"]) / (ours["up"] + ours["down"]) >= 15


def test_an_idle_host_takes_at_most_half_a_megabyte(figures: dict[str, Any]) -> None:
    # Among many, so that what one lab costs however small it is hardly counts.
    assert figures["labs"]["lab"]["1000"]["memory"] / 1000 <= 512


def test_help_is_there_in_the_time_that_fifteen_empty_python_programs_take(figures: dict[str, Any]) -> None:
    commands = figures["commands"]
    assert commands["lab --help"] / commands["python -c pass"] <= 15


def test_exec_takes_at_most_three_times_as_long_as_nsenter(figures: dict[str, Any]) -> None:
    if "lab up/down" in figures["missing"]:
        pytest.skip(f"lab: {figures['missing']['lab up/down']}")
    assert figures["commands"]["lab exec"] / figures["commands"]["nsenter"] <= 3


def test_the_bench_leaves_the_machine_as_it_found_it(tmp_path: Path) -> None:
    tag = f"bench-{uuid.uuid4()}"
    before = _machine()
    subprocess.run(
        [_BENCH, "--hosts", "2", "--rounds", "1"],
        check=True,
        env={**os.environ, "BENCH_TAG": tag, "TMPDIR": str(tmp_path)},
    )
    assert _machine() == before
    assert _processes(tag) == []
    assert list(tmp_path.iterdir()) == []


def _machine() -> tuple[str, list[str], str]:
    """Interfaces, named network namespaces and mounts of the namespaces that we are in."""
    links = subprocess.run(["ip", "-brief", "link"], check=True, capture_output=True, text=True).stdout
    named = sorted(path.name for path in Path("/run/netns").glob("*"))
    return links, named, Path("/proc/self/mountinfo").read_text()


def _processes(tag: str) -> list[str]:
    """Command lines of the processes that have `tag` in their environment."""
    return [
        (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for process in Path("/proc").glob("[0-9]*")
        if _has_in_environment(process, tag)
    ]


def _has_in_environment(process: Path, tag: str) -> bool:
    try:
        return tag.encode() in (process / "environ").read_bytes()
    except OSError:  # it ended meanwhile, or is another user's and so none of ours
        return False
