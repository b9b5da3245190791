"""Labs of containers whose daemon is killed: what a person is told, and that the next one is left nothing of them."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.backends.docker.client import DockerBackend
from lab.backends.docker.daemon import connect
from lab.backends.owned import registry
from lab.errors import BackendError
from lab.plan.model import Plan
from tests.docker_daemon import OwnDaemon
from tests.docker_labs import left
from tests.small_labs import TWO_HOSTS, planned

pytestmark = pytest.mark.docker

SLEEP = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
IMAGE = "waits:1"


@contextmanager
def daemon(own: OwnDaemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a daemon, which the labs of the block are of."""
    running, host = own.hold()
    with running:
        monkeypatch.setenv("DOCKER_HOST", host)
        try:
            yield
        finally:
            running.communicate(timeout=60)
            assert own.daemons() == []


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    """A file system with all that a node needs that does nothing."""
    (tmp_path / "sleep.c").write_text(SLEEP)
    subprocess.run(["gcc", "-static", "-o", tmp_path / "sleep", tmp_path / "sleep.c"], check=True)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(tmp_path / "sleep", "bin/sleep")
    return file.getvalue()


def idle_hosts(image: bytes) -> Plan:
    """Bring the image to the daemon, and return a plan of two nodes of it."""
    with closing(connect()) as client:
        client.api.import_image_from_data(image, *IMAGE.split(":"))
    made = planned(TWO_HOSTS)
    return replace(made, nodes=tuple(replace(node, image=IMAGE) for node in made.nodes))


def after(own: OwnDaemon, monkeypatch: pytest.MonkeyPatch, plan: Plan, image: bytes) -> tuple[list[str], list[str]]:
    """Return what another daemon with the same data finds of a lab, and what is left when its next lab is up."""
    with daemon(own, monkeypatch), closing(connect()) as client, closing(DockerBackend()) as backend:
        found = left(client, plan)
        backend.up(idle_hosts(image)).down()
        return found, left(client, plan)


def test_a_daemon_that_is_killed_while_a_lab_comes_up_is_one_line(
    own_daemon: OwnDaemon, monkeypatch: pytest.MonkeyPatch, image: bytes
) -> None:
    with daemon(own_daemon, monkeypatch), closing(DockerBackend()) as backend:
        plan = idle_hosts(image)

        def kill(step: str) -> None:
            if step == "node left":
                own_daemon.kill()

        with pytest.raises(BackendError, match=r"the Docker daemon was lost meanwhile|no Docker daemon") as raised:
            backend.up(plan, on_step=kill)
        assert "\n" not in str(raised.value)
        assert plan.name not in registry.names()
    assert after(own_daemon, monkeypatch, plan, image)[1] == []


def test_down_tells_what_a_killed_daemon_keeps_and_the_next_lab_there_removes_it(
    own_daemon: OwnDaemon, monkeypatch: pytest.MonkeyPatch, image: bytes
) -> None:
    with daemon(own_daemon, monkeypatch), closing(DockerBackend()) as backend:
        plan = idle_hosts(image)
        lab = backend.up(plan)
        own_daemon.kill()
        with pytest.raises(BackendError, match='what is left at the daemon goes with the next lab there, or "lab down'):
            lab.down()
        assert plan.name not in registry.names()
    found, remaining = after(own_daemon, monkeypatch, plan, image)
    assert found != []
    assert remaining == []
