"""Images, as far as they can be told without a Docker daemon."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from requests import RequestException

from lab import servers
from lab.errors import ImageError, UsageError
from lab.images import for_node, table
from lab.images.context import Image
from lab.images.daemon import doing
from lab.load import loads
from lab.plan.model import PlannedNode, PlannedService
from lab.plan.planner import plan
from lab.services.table import KINDS
from tests.commands import execute
from tests.small_labs import TWO_HOSTS
from tests.users import become

IMAGES = Path(__file__).parents[1] / "images"
BASE = "sha256:" + "0" * 64


def node_with(*kinds: str) -> PlannedNode:
    services = tuple(PlannedService(f"s{number}", kind, (), {}) for number, kind in enumerate(kinds))
    return replace(plan(loads(TWO_HOSTS)).nodes[0], services=services)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """An image whose Dockerfile is in one folder, and what it copies in another."""
    sources, other = tmp_path / "image", tmp_path / "other"
    sources.mkdir()
    other.mkdir()
    (sources / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nCOPY other /other\n")
    (other / "program").write_text("1")
    return Image("tiny", {"": sources, "other": other})


def test_every_kind_of_service_has_an_image() -> None:
    assert sorted(table.OF_KIND) == sorted(KINDS)
    assert set(table.OF_KIND.values()) < set(table.names())


def test_a_node_without_services_gets_the_tools() -> None:
    assert for_node(node_with()) == "toolbox"


def test_a_node_with_one_service_gets_its_image() -> None:
    assert for_node(node_with("squid")) == "squid"
    assert for_node(node_with("nginx", "nginx")) == "nginx"


@pytest.mark.parametrize("program", servers.names())
def test_a_server_of_the_project_is_in_their_image(program: str) -> None:
    assert for_node(node_with(program)) == "servers"


def test_a_node_with_several_kinds_gets_the_image_with_all() -> None:
    assert for_node(node_with("squid", "nginx")) == "all"
    assert for_node(node_with("squid", "echo_poll")) == "all"


def test_an_unknown_image_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UsageError) as raised:
        table.named("apache")
    assert str(raised.value) == (
        'no image named "apache"; there are all, dnsmasq, haproxy, nginx, servers, squid, toolbox'
    )


@pytest.mark.parametrize("name", table.names())
def test_the_debian_packages_of_its_services_are_in_each_dockerfile(name: str) -> None:
    words = (IMAGES / name / "Dockerfile").read_text().split()
    for kind, model in KINDS.items():
        if model.package and name in (table.OF_KIND[kind], "all"):
            assert model.package in words


def test_all_dockerfiles_begin_with_the_same_layers() -> None:
    """Docker takes a layer from its cache only if all before it are the same, to the letter."""
    texts = [path.read_text() for path in IMAGES.glob("*/Dockerfile")]
    heads = {text[text.rindex("FROM ${BASE}\n") : text.index("CMD [")] for text in texts}
    assert len(heads) == 1
    assert {text.splitlines()[1] for text in texts} == {"ARG BASE=debian:bookworm-slim"}


def test_the_image_with_all_has_what_the_others_have() -> None:
    def packages(name: str) -> set[str]:
        text = (IMAGES / name / "Dockerfile").read_text().replace("\\\n", " ")
        installs = [line for line in text.splitlines() if "--no-install-recommends" in line]
        return {word for line in installs for word in line.split("recommends")[1].split("&&")[0].split()}

    for name in table.names():
        assert packages(name) <= packages("all"), name


def test_the_same_sources_have_the_same_hash(image: Image) -> None:
    assert image.digest(BASE) == image.digest(BASE)
    assert len(image.digest(BASE)) == 12


def test_whatever_goes_into_an_image_changes_its_hash(image: Image) -> None:
    program = image.folders["other"] / "program"
    hashes = [image.digest(BASE), image.digest(BASE.replace("0", "1"))]
    program.chmod(0o755)
    hashes.append(image.digest(BASE))
    program.write_text("2")
    hashes.append(image.digest(BASE))
    program.rename(program.with_name("renamed"))
    hashes.append(image.digest(BASE))
    assert len(set(hashes)) == len(hashes)


def test_what_is_built_beside_the_sources_does_not_change_the_hash(image: Image) -> None:
    before = image.digest(BASE)
    built = image.folders["other"] / "build" / "release"
    built.mkdir(parents=True)
    (built / "program").write_bytes(os.urandom(16))
    assert image.digest(BASE) == before


def test_the_context_has_every_folder_in_its_place_and_no_times(image: Image) -> None:
    with tarfile.open(fileobj=image.archive()) as archive:
        found = {entry.name: (entry.mode, entry.mtime, entry.uid) for entry in archive}
    assert found == {"Dockerfile": (0o644, 0, 0), "other/program": (0o644, 0, 0)}


def test_the_docker_sdk_is_imported_by_nobody_who_does_not_ask_a_daemon() -> None:
    check = "import sys, lab.images, lab.cli.images, lab.cli.up; sys.exit('docker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_a_missing_daemon_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/docker.sock"
    said = execute("images", "ls", environment={"DOCKER_HOST": host})
    assert said.code == 3
    assert said.err == (
        f"lab: no Docker daemon answers at {host}: there is no such socket; "
        "start it, or set DOCKER_HOST, or script/with-docker COMMAND\n"
    )


def test_a_socket_that_is_not_ones_own_is_told_with_the_remedy(tmp_path: Path) -> None:
    with become("ordinary user", tmp_path) as someone, socket.socket(socket.AF_UNIX) as listening:
        path = someone.temporary / "docker.sock"
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        someone.environment["DOCKER_HOST"] = f"unix://{path}"
        done = someone.lab("images", "ls")
    assert done.returncode == 3
    assert done.stderr == (
        f"lab: no Docker daemon answers at unix://{path}: you may not use its socket; "
        "join its group (usermod -aG docker USER) or be root\n"
    )


def test_a_daemon_that_is_no_daemon_is_told(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(path))  # and does not listen
        said = execute("images", "ls", environment={"DOCKER_HOST": f"unix://{path}"})
    assert said.code == 3
    assert said.err.count("\n") == 1
    assert "Connection refused" in said.err


def test_a_daemon_that_is_lost_is_told_with_what_it_was_doing() -> None:
    lost = r"^image tiny: the Docker daemon was lost meanwhile: reset by peer$"
    with pytest.raises(ImageError, match=lost), doing("image tiny"):
        raise RequestException("reset by peer")
