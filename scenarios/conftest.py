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


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for web servers: files small, empty, large and huge, folders, links; beside it is a secret."""
    around = tmp_path_factory.mktemp("site")
    (around / "secret.txt").write_text("nobody may see this")
    root = around / "www"
    (root / "sub").mkdir(parents=True)
    (root / "bare").mkdir()
    (root / "index.html").write_text("<title>start</title>\n")
    (root / "sub" / "index.html").write_text("<title>sub</title>\n")
    (root / "page.html").write_text("x" * 1024)
    (root / "empty.txt").touch()
    (root / "a b+c.txt").write_text("spaces\n")
    (root / "large.bin").write_bytes(bytes(range(256)) * 20_480)  # 5 MB
    with (root / "huge.bin").open("wb") as huge:
        huge.truncate(5 << 30)  # 5 GiB, without a byte of them on the disk
    (root / "link-in.html").symlink_to("page.html")
    (root / "link-out.txt").symlink_to("../secret.txt")
    (root / "link-absolute.txt").symlink_to(around / "secret.txt")
    (root / "link-up").symlink_to("..")
    return root
