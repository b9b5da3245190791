"""script/with-docker: a daemon for one command, of which nothing is left behind it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from lab.wait import wait_until
from tests.docker_daemon import SCRIPT, OwnDaemon
from tests.docker_images import connect_or_skip

pytestmark = pytest.mark.docker

# What a container's first program does not ask for does not end it: Docker's own way to stop it would take long.
PAUSE = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
RUN_CONTAINER = (
    'echo "$DOCKER_HOST" >"$0/host" && echo "$PPID" >"$0/script" && '
    'tar -c -C "$0" pause | docker import - pause:1 >"$0/id" && '
    'docker run --detach --network none pause:1 /pause >"$0/container" && '
    'docker ps --quiet --no-trunc | cmp - "$0/container" && exit 7'
)
_LIMIT = 60.0  # seconds


def test_a_daemon_of_its_own_ends_with_the_command_and_leaves_the_machine_as_it_was(own_daemon: OwnDaemon) -> None:
    (own_daemon.folder / "pause.c").write_text(PAUSE)
    subprocess.run(["gcc", "-static", "-o", own_daemon.folder / "pause", own_daemon.folder / "pause.c"], check=True)
    with own_daemon.start("sh", "-c", RUN_CONTAINER, str(own_daemon.folder), apart=True) as running:
        changed, said = running.communicate(timeout=_LIMIT)
    assert running.returncode == 7, said  # the command's own
    assert said.splitlines()[-1] == "with-docker: the daemon has ended"
    assert changed.strip() == ""
    assert own_daemon.daemons() == []
    host = (own_daemon.folder / "host").read_text().strip()
    assert host != own_daemon.environment["DOCKER_HOST"]
    assert not Path(host.removeprefix("unix://")).parent.exists()
    script = int((own_daemon.folder / "script").read_text())
    assert list(Path("/sys/fs/cgroup").glob(f"**/lab-docker-{script}")) == []


def test_of_what_a_command_has_made_only_images_are_kept(own_daemon: OwnDaemon) -> None:
    made = (
        "docker network create --internal left >&2 && tar -c -T /dev/null | docker import - left:1 >&2 && "
        "docker create --network left left:1 /nothing >&2"
    )
    with own_daemon.start("sh", "-c", made) as running:
        said = running.communicate(timeout=_LIMIT)[1]
    assert running.returncode == 0, said
    listing = "docker ps --all --quiet; docker network ls --quiet --filter type=custom; docker images --quiet left:1"
    with own_daemon.start("sh", "-c", listing) as running:
        left = running.communicate(timeout=_LIMIT)[0].split()
    assert len(left) == 1  # the image


def test_the_daemon_ends_if_the_script_is_killed(own_daemon: OwnDaemon) -> None:
    running, host = own_daemon.hold()
    with running:
        assert len(own_daemon.daemons()) >= 3
        running.send_signal(signal.SIGKILL)
        try:
            wait_until(lambda: own_daemon.daemons() == [], timeout=_LIMIT, what="the daemon to end")
        finally:
            shutil.rmtree(Path(host.removeprefix("unix://")).parent)  # nobody was left to do it


def test_two_do_not_share_a_folder_of_images(own_daemon: OwnDaemon) -> None:
    first, _ = own_daemon.hold()
    with first:
        with own_daemon.start("true") as second:
            said = second.communicate(timeout=_LIMIT)[1]
        first.communicate(timeout=_LIMIT)
    data = own_daemon.environment["LAB_DOCKER_DATA"]
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
