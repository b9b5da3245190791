"""The `lab` command as tests call it, and a lab of two hosts that it has brought up."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.backends.netns.client import NetnsBackend
from lab.cli import main
from lab.running import Lab
from tests.small_labs import TWO_HOSTS

COMMAND = str(Path(sys.executable).parent / "lab")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def call(*arguments: str) -> Said:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as leaving:  # argparse's way
            code = int(leaving.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def execute(*arguments: str, stdin: str = "", environment: dict[str, str] | None = None) -> Said:
    """Run a command as a person does."""
    done = subprocess.run(
        [COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def two_hosts_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("topology") / "two.yaml"
    path.write_text(TWO_HOSTS)
    return path


def new_name() -> str:
    return f"cli-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def lab_name(two_hosts_file: Path) -> Iterator[str]:
    """A lab that is up, by its name."""
    name = new_name()
    assert call("up", str(two_hosts_file), "--name", name).code == 0
    yield name
    assert call("down", name).code == 0


@pytest.fixture
def running_lab(lab_name: str) -> Lab:
    return Lab(NetnsBackend().attach(lab_name))
