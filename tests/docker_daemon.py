"""A Docker daemon of a test's own, by script/with-docker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.wait import wait_until
from tests.machine import marked_processes

SCRIPT = Path(__file__).parents[1] / "script" / "with-docker"
MARK = "LAB_TESTS_MARK"
# Runs a command and prints what it has changed of the namespaces that both are in.
WITNESS = (
    "import subprocess, sys; from tests.machine import differences, snapshot; before = snapshot(); "
    "code = subprocess.call(sys.argv[1:]); print(differences(before, snapshot())); sys.exit(code)"
)
# Where no daemon of another test makes any interfaces or mounts meanwhile.
APART = ("unshare", "--net", "--mount", "--", sys.executable, "-c", WITNESS)
_NAMES = ("containerd", "dockerd", "slirp4netns")


@dataclass(frozen=True)
class OwnDaemon:
    """A place where a daemon may be started, as none answers."""

    folder: Path
    environment: dict[str, str]

    def start(self, *command: str, apart: bool = False) -> subprocess.Popen[str]:
        """Start the script with a command; `apart` in namespaces of which a change is told on stdout."""
        line = [*(APART if apart else ()), str(SCRIPT), *command]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            line, cwd=SCRIPT.parents[1], env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def hold(self) -> tuple[subprocess.Popen[str], str]:
        """Start a daemon that lives until stdin ends, and return the address that it answers at."""
        running = self.start("sh", "-c", "echo $DOCKER_HOST; read until_stdin_ends")
        assert running.stdout
        host = running.stdout.readline().strip()
        assert host, running.communicate()[1]
        return running, host

    def daemons(self) -> list[str]:
        """Return the command lines of what runs for a daemon."""
        return [command for command in self._processes().values() if any(name in command for name in _NAMES)]

    def kill(self) -> None:
        """Kill the daemon; what runs in its containers goes on."""
        (process,) = [process for process, command in self._processes().items() if command.startswith("dockerd ")]
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: process not in self._processes(), timeout=10, what="the daemon to end")

    def _processes(self) -> dict[int, str]:
        return marked_processes(f"{MARK}={self.environment[MARK]}")


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[OwnDaemon]:
    if os.geteuid():
        pytest.skip("only root can start a Docker daemon")
    absent = [tool for tool in ("docker", "dockerd", "slirp4netns", "mmdebstrap") if not shutil.which(tool)]
    if absent:
        pytest.skip(f"not installed, and script/with-docker would install it: {', '.join(absent)}")
    environment = {
        "DOCKER_HOST": f"unix://{tmp_path}/nobody",
        "LAB_DOCKER_DATA": str(tmp_path / "data"),
        MARK: uuid.uuid4().hex,
    }
    yield OwnDaemon(tmp_path, {**os.environ, **environment})
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
