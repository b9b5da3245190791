"""What all scenarios share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SANITIZERS = ("ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")


@pytest.fixture(autouse=True)
def no_reports_of_sanitizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a scenario fail in which a server, built to look for such things, has found an error of memory or threads.

    See `lab.servers` for how to choose such servers. Their reports are files, as nobody reads what a program writes
    that a scenario stops.
    """
    reports = tmp_path / "sanitizer"
    reports.mkdir(mode=0o777)
    for name in SANITIZERS:
        options = filter(None, (os.environ.get(name), f"log_path={reports}/report", "handle_abort=1"))
        monkeypatch.setenv(name, ":".join(options))
    yield
    found = [path.read_text(errors="replace") for path in sorted(reports.iterdir())]
    assert not found, "\n".join(found)
