"""script/with-docker: a daemon for one command, of which nothing is left behind it."""

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
from tests.docker_images import connect_or_skip
from tests.machine import marked_processes

pytestmark = pytest.mark.docker

SCRIPT = Path(__file__).parents[1] / "script" / "with-docker"
MARK = "LAB_TESTS_MARK"
# What a container's first program does not ask for does not end it: Docker's own way to stop it would take long.
PAUSE = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
RUN_CONTAINER = (
    'echo "$DOCKER_HOST" >"$0/host" && echo "$PPID" >"$0/script" && '
    'tar -c -C "$0" pause | docker import - pause:1 >"$0/id" && '
    'docker run --detach --network none pause:1 /pause >"$0/container" && '
    'docker ps --quiet --no-trunc | cmp - "$0/container" && exit 7'
)
# Runs a command and prints what it has changed of the namespaces that both are in.
WITNESS = (
    "import subprocess, sys; from tests.machine import differences, snapshot; before = snapshot(); "
    "code = subprocess.call(sys.argv[1:]); print(differences(before, snapshot())); sys.exit(code)"
)
# Where no daemon of another test makes any interfaces or mounts meanwhile.
APART = ("unshare", "--net", "--mount", "--", sys.executable, "-c", WITNESS)
_LIMIT = 60.0  # seconds


@dataclass(frozen=True)
class Own:
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
        return running, running.stdout.readline().strip()

    def daemons(self) -> list[str]:
        names = ("containerd", "dockerd", "slirp4netns")
        running = marked_processes(f"{MARK}={self.environment[MARK]}").values()
        return [command for command in running if any(name in command for name in names)]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
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
    yield Own(tmp_path, {**os.environ, **environment})
    shutil.rmtree(tmp_path / "data", ignore_errors=True)


def test_a_daemon_of_its_own_ends_with_the_command_and_leaves_the_machine_as_it_was(own: Own) -> None:
    (own.folder / "pause.c").write_text(PAUSE)
    subprocess.run(["gcc", "-static", "-o", own.folder / "pause", own.folder / "pause.c"], check=True)
    with own.start("sh", "-c", RUN_CONTAINER, str(own.folder), apart=True) as running:
        changed, said = running.communicate(timeout=_LIMIT)
    assert running.returncode == 7, said  # the command's own
    assert said.splitlines()[-1] == "with-docker: the daemon has ended"
    assert changed.strip() == ""
    assert own.daemons() == []
    host = (own.folder / "host").read_text().strip()
    assert host != own.environment["DOCKER_HOST"]
    assert not Path(host.removeprefix("unix://")).parent.exists()
    script = int((own.folder / "script").read_text())
    assert list(Path("/sys/fs/cgroup").glob(f"**/lab-docker-{script}")) == []


def test_of_what_a_command_has_made_only_images_are_kept(own: Own) -> None:
    made = (
        "docker network create --internal left >&2 && tar -c -T /dev/null | docker import - left:1 >&2 && "
        "docker create --network left left:1 /nothing >&2"
    )
    with own.start("sh", "-c", made) as running:
        said = running.communicate(timeout=_LIMIT)[1]
    assert running.returncode == 0, said
    listing = "docker ps --all --quiet; docker network ls --quiet --filter type=custom; docker images --quiet left:1"
    with own.start("sh", "-c", listing) as running:
        left = running.communicate(timeout=_LIMIT)[0].split()
    assert len(left) == 1  # the image


def test_the_daemon_ends_if_the_script_is_killed(own: Own) -> None:
    running, host = own.hold()
    with running:
        assert len(own.daemons()) >= 3
        running.send_signal(signal.SIGKILL)
        try:
            wait_until(lambda: own.daemons() == [], timeout=_LIMIT, what="the daemon to end")
        finally:
            shutil.rmtree(Path(host.removeprefix("unix://")).parent)  # nobody was left to do it


def test_two_do_not_share_a_folder_of_images(own: Own) -> None:
    first, _ = own.hold()
    with first:
        with own.start("true") as second:
            said = second.communicate(timeout=_LIMIT)[1]
        first.communicate(timeout=_LIMIT)
    data = own.environment["LAB_DOCKER_DATA"]
    assert second.returncode == 3
    assert said == f"with-docker: another one uses {data}; wait for it to end, or set LAB_DOCKER_DATA\n"


def test_a_daemon_that_answers_is_taken() -> None:
    connect_or_skip().close()
    done = subprocess.run(
        [SCRIPT, "sh", "-c", "echo $DOCKER_HOST; exit 5"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 5
    assert done.stdout.strip() == os.environ.get("DOCKER_HOST", "")
    assert "a daemon answers" in done.stderr
