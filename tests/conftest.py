from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests import commands, docker_daemon, docker_labs, machine, noise, users

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores Ctrl-C, and so would all that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for plugin in (commands, docker_daemon, docker_labs, machine, noise, users):
        config.pluginmanager.register(plugin)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write the golden files anew; read the diff")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Assert that a golden file holds a text; with --update write it first."""

    def compare(path: Path, actual: str) -> None:
        if request.config.getoption("--update"):
            path.write_text(actual, encoding="utf-8")
        assert path.is_file(), f"{path.name} is missing: run pytest --update and read what it writes"
        assert actual == path.read_text(encoding="utf-8")

    return compare
