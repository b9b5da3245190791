"""Root and an ordinary user: what matters is tried as both, from whichever of them runs the tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.command import find_tool
from lab.wait import wait_until
from tests import ordinary_user
from tests.machine import marked_processes

LAB = str(Path(sys.executable).parent / "lab")
PROJECT = ordinary_user.PROJECT
REDIRECT = str(PROJECT / "topologies" / "redirect.yaml")
KINDS = ("root", "ordinary user")
MARK = "LAB_TESTS_MARK"
_LIMIT = 120.0  # seconds, after which a program is taken for stuck


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who runs labs.

    Attributes:
        environment: with folders of the user's own, and a mark by which all that it starts is found.
        labs: the folder of the user's labs.
        temporary: the user's folder for temporary files.
    """

    is_root: bool
    environment: dict[str, str]
    labs: Path
    temporary: Path

    def command(self, *arguments: str, show: Sequence[Path] = ()) -> list[str]:
        """Return the command line that runs a program as this user; see `ordinary_user.command`."""
        return list(arguments) if self.is_root else ordinary_user.command(*arguments, show=show)

    def secluded(self, *arguments: str, room: str = "") -> list[str]:
        """Return the command line that runs a program where nobody else's labs are; only root can limit the room.

        Args:
            room: options of the tmpfs where the user's labs have their folder then, "size=64k" say.
        """
        command = self.command(*arguments)
        if not self.is_root and not room:
            return command
        owner = "mode=755" if self.is_root else f"mode=700,uid={ordinary_user.UID},gid={ordinary_user.UID}"
        script = 'mount -t tmpfs -o "$0" none "$1" && shift && exec "$@"'
        options = ",".join(filter(None, (owner, room)))
        return [find_tool("unshare"), "--mount", "--", "sh", "-c", script, options, str(self.labs.parent), *command]

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run a program as this user to its end; options as of `subprocess.run`."""
        return self.run_command(self.command(*arguments), **options)

    def run_command(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command line of this user's to its end."""
        settings: dict[str, Any] = {
            "env": self.environment,
            "cwd": PROJECT,
            "stdin": None if "input" in options else subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "timeout": _LIMIT,
        }
        return subprocess.run(command, check=False, **{**settings, **options})

    def lab(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the `lab` command as this user."""
        return self.run(LAB, *arguments, **options)

    def module(self, name: str, *arguments: str) -> list[str]:
        """Return a Python program of the tests with its arguments."""
        return [sys.executable, "-P", "-m", f"tests.{name}", *arguments]

    def report(self, name: str, case: str, room: str = "") -> dict[str, Any]:
        """Run a program of the tests that reports as JSON; the machine must be the same before and after it.

        Args:
            room: see `secluded`.
        """
        done = self.run_command(self.secluded(*self.module(name, case), room=room))
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["machine"] == ""
        return report

    def processes(self) -> dict[int, str]:
        """Return what this user's labs and programs have running."""
        return marked_processes(f"{MARK}={self.environment[MARK]}")

    def up(self, topology: str = REDIRECT) -> str:
        """Bring a topology up under a name that no other lab has, and return the name."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        done = self.lab("up", topology, "--name", name)
        assert done.returncode == 0, done.stderr
        return name


@pytest.fixture(params=KINDS)
def user(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[User]:
    """Each in turn, with nothing of an earlier test's; whatever labs it leaves up are taken down."""
    with become(request.param, tmp_path) as someone:
        yield someone


@contextmanager
def become(kind: str, folder: Path) -> Iterator[User]:
    """Give a user of this kind, or skip the test with the reason why nobody here can be one.

    Args:
        folder: for root's temporary files.
    """
    is_root = kind == "root"
    if is_root and os.geteuid():
        pytest.skip("these tests are not run by root, so nothing can be tried as root")
    if not is_root and not os.geteuid() and not shutil.which("setpriv"):
        pytest.skip("setpriv (apt-get install util-linux) is not there to become an ordinary user with")
    mark = {MARK: uuid.uuid4().hex}
    with ordinary_user.environment() as own:
        if is_root:
            temporary = folder / "temporary"
            temporary.mkdir()
            someone = User(is_root, {**os.environ, **mark, "TMPDIR": str(temporary)}, Path("/run/lab"), temporary)
        else:
            someone = User(is_root, {**own, **mark}, Path(own["XDG_RUNTIME_DIR"]) / "lab", Path(own["TMPDIR"]))
        try:
            yield someone
        finally:
            _take_down(someone)


def _take_down(someone: User) -> None:
    """End what a failed test may have left running; its labs end with their owners."""
    for process in someone.processes():
        with contextlib.suppress(ProcessLookupError):  # ended with another
            os.kill(process, signal.SIGTERM)
    wait_until(lambda: not someone.processes(), timeout=_LIMIT, what="what the test has left to end")
