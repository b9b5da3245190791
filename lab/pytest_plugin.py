"""The pytest plugin: a scenario names its topology and gets it as a running lab.

    @pytest.mark.topology("redirect.yaml")
    def test_the_host_learns_the_better_gateway(lab): ...

A test has a lab of its own; `@pytest.mark.topology("redirect.yaml", reuse=True)` shares one among the tests that
ask for the same, until one of them fails or does something to its links.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from lab.artifacts import write_artifacts
from lab.backends.base import Backend
from lab.backends.table import BACKENDS, DEFAULT
from lab.book import Recorder, is_within
from lab.errors import LabError
from lab.faults.model import FaultState
from lab.load import load
from lab.mutants import Sabotage
from lab.plan.model import Plan
from lab.plan.planner import plan
from lab.running import Lab
from lab.services import kinds
from lab.services.service import crashed
from lab.trace.trace import NoSuchPacketError

_LAB = pytest.StashKey[Lab]()
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of labs."""
    group = parser.getgroup("lab", "networks to test in")
    group.addoption("--lab-backend", choices=sorted(BACKENDS), default=DEFAULT, help="what labs are made of")
    group.addoption("--lab-keep", action="store_true", help="leave the lab of a failed test up, to look around in it")
    group.addoption(
        "--lab-artifacts",
        metavar="DIR",
        default="artifacts",
        help="where a failed test's pcaps, traces, plan and logs go (default: artifacts)",
    )
    group.addoption(
        "--lab-artifacts-of", choices=("failed", "all"), default="failed", help="of which tests they are kept"
    )
    group.addoption("--mutants", action="store_true", help="run each scenario against its mutants; each must fail")
    group.addoption("--book", metavar="SECTION", help="run the scenarios of one section of the book, like 2.6.2 or 3")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks."""
    config.addinivalue_line(
        "markers",
        "topology(file, reuse=False, sysctls={}): what the `lab` fixture brings up, with sysctls by node on top",
    )
    config.addinivalue_line("markers", "mutant(name, sabotage): something under which the scenario must fail")
    config.addinivalue_line("markers", "book(section): the section of the book that a scenario shows")
    # `cache` is not there with -p no:cacheprovider; the workers of pytest-xdist report to one that has it.
    if getattr(config, "cache", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config.cache))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the scenarios of the section asked for."""
    section = config.getoption("book")
    if section:
        chosen = [item for item in items if any(is_within(mark.args[0], section) for mark in item.iter_markers("book"))]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With --mutants, run a scenario once for each of its mutants."""
    if metafunc.config.getoption("mutants") and "lab" in metafunc.fixturenames:
        marks = [mark.args for mark in metafunc.definition.iter_markers("mutant")] or [("none", _no_mutant)]
        metafunc.parametrize("mutant", [sabotage for _name, sabotage in marks], ids=[name for name, _sabotage in marks])


@dataclass(slots=True)
class Labs:
    """The labs of one test process: names them, and keeps those that are shared."""

    backend: Backend
    keep: bool
    shared_folders: tuple[Path, ...]
    shared: dict[Plan, Lab] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    # A process that runs pytest inside a test of pytest has several of these at once.
    tag: str = field(default_factory=lambda: f"{os.getpid()}-{secrets.token_hex(2)}")

    def fresh(self, planned: Plan, source: Path) -> Lab:
        """Bring a lab up, under a name that no other has."""
        own_name = f"{planned.name}-{self.tag}-{next(self.numbers)}"
        return Lab.up(
            replace(planned, name=own_name),
            self.backend,
            source=str(source),
            detached=self.keep,
            shared=(*self.shared_folders, source.resolve().parent),
        )

    def reused(self, planned: Plan, source: Path) -> Lab:
        """Return the shared lab of this plan, brought up by the first who asks."""
        if planned not in self.shared:
            self.shared[planned] = self.fresh(planned, source)
        return self.shared[planned]

    def give_back(self, lab: Lab, *, failed: bool) -> None:
        """Take a lab down, unless others will use it or a person will look at it."""
        is_shared = lab in self.shared.values()
        if is_shared and not failed and lab.faults() == FaultState():  # what was done to its links stays with it
            lab.captures.clear()
            lab.notes.clear()
            return
        self.shared = {planned: other for planned, other in self.shared.items() if other is not lab}
        if not (failed and self.keep):
            lab.down()
            return
        for process in lab.processes:
            if process.exit_code is not None:  # the others are left running
                process.close()

    def close(self) -> None:
        """Take the shared labs down."""
        for lab in self.shared.values():
            lab.down()
        self.shared.clear()


@pytest.fixture(scope="session")
def labs(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    """The labs of this test process, for tests that bring up several."""
    backend: Backend = BACKENDS[pytestconfig.getoption("lab_backend")]()
    # Nodes have a /tmp of their own, and containers all folders; these they see all the same.
    python = (Path(sys.prefix), Path(sys.base_prefix))
    visible = (pytestconfig.rootpath, tmp_path_factory.getbasetemp(), Path.cwd(), *python)
    ours = Labs(backend, pytestconfig.getoption("lab_keep"), visible)
    try:
        yield ours
    finally:
        ours.close()
        backend.close()


@pytest.fixture
def mutant() -> Sabotage | None:
    """What is to be broken before the test sees the lab: nothing, unless --mutants sets it."""
    return None


@pytest.fixture
def lab(request: pytest.FixtureRequest, labs: Labs, mutant: Sabotage | None) -> Iterator[Lab]:
    """The running lab of the test's `topology` mark."""
    mark = request.node.get_closest_marker("topology")
    if mark is None:
        pytest.fail('the `lab` fixture needs @pytest.mark.topology("FILE")', pytrace=False)
    source = _find(mark.args[0], request)
    planned = _with_sysctls(plan(load(source, kinds)), mark.kwargs.get("sysctls", {}))
    reuse = mark.kwargs.get("reuse", False) and mutant is None
    running = labs.reused(planned, source) if reuse else labs.fresh(planned, source)
    request.node.stash[_LAB] = running
    with ExitStack() as stack:
        stack.callback(lambda: labs.give_back(running, failed=request.node.stash.get(_FAILED, False)))
        if mutant:
            in_the_way = mutant(running)
            if in_the_way:
                stack.callback(in_the_way.close)
            # Only a failed check counts as caught, not an error on the way to it.
            request.applymarker(pytest.mark.xfail(raises=(AssertionError, NoSuchPacketError), strict=True))
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """While the lab of a test is still up, keep what tells what happened in it, and say where."""
    report = yield
    if call.when == "call" and _LAB in item.stash:
        running = item.stash[_LAB]
        _report_crashes(running, report)
        item.stash[_FAILED] = report.failed
        if report.failed or item.config.getoption("lab_artifacts_of") == "all":
            lines = _keep(item, running)
            if report.failed and item.config.getoption("lab_keep"):
                lines.append(f"the lab is still up: lab shell --lab {running.name} NODE; lab down {running.name}")
            report.sections.append((f"lab {running.name}", "\n".join(lines)))
    return report


def _keep(item: pytest.Item, running: Lab) -> list[str]:
    """Write a test's artifacts, and return what to say of them: where each is."""
    folder = Path(item.config.getoption("lab_artifacts")) / re.sub(r"[^\w.-]+", "-", item.nodeid)
    try:
        return [str(path) for path in write_artifacts(running, folder)]
    except OSError as error:
        return [f"nothing is kept: {error}; --lab-artifacts DIR names another place"]


def _report_crashes(running: Lab, report: pytest.TestReport) -> None:
    """Let a test fail in which a service ended that nobody had stopped, and tell it with one that fails anyway."""
    if not any(node.services for node in running.plan.nodes):
        return
    try:
        crashes = crashed(running.backend)
    except LabError:  # the lab itself is gone, which its teardown will tell
        return
    if not crashes:
        return
    if report.passed:
        report.outcome = "failed"
        report.longrepr = "a service ended during the test: " + "\n".join(crashes)
    else:
        report.sections.append(("services that ended during the test", "\n".join(crashes)))


def _no_mutant(_lab: Lab) -> None:
    pytest.fail(
        "this scenario has no mutant, so nothing shows that it can fail: add @pytest.mark.mutant",
        pytrace=False,
    )


def _find(name: str | Path, request: pytest.FixtureRequest) -> Path:
    """Find a topology beside the test, or in the project's topologies/."""
    places = (request.path.parent, request.config.rootpath / "topologies", request.config.rootpath)
    for place in places:
        if (place / name).is_file():
            return place / name
    pytest.fail(f"no topology {name} in {', '.join(map(str, places))}", pytrace=False)


def _with_sysctls(planned: Plan, sysctls: Mapping[str, Mapping[str, str | int]]) -> Plan:
    unknown = set(sysctls) - {node.name for node in planned.nodes}
    if unknown:
        pytest.fail(f"sysctls for nodes that {planned.name} has not: {', '.join(sorted(unknown))}", pytrace=False)
    nodes = tuple(
        replace(
            node,
            sysctls=node.sysctls + tuple((key, str(value)) for key, value in sysctls.get(node.name, {}).items()),
        )
        for node in planned.nodes
    )
    return replace(planned, nodes=nodes)
