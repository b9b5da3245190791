"""What images are built on: found, pulled, or made of packages where no registry has it."""

from __future__ import annotations

import platform
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import ImageError, LabError, MissingToolError
from lab.images import base as bases
from tests.docker_images import archive, client

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["client"]

pytestmark = pytest.mark.docker

# In place of the real one: keeps what it was told, and makes a tiny base.
MMDEBSTRAP = """
cd {folder}
for one; do
    case $one in
        --aptopt=*) cp "${{one#*=}}" options ;;
        */sources.list) cp "$one" sources ;;
        *.tar) cp tiny.tar "$one" ;;
    esac
done
"""


def test_a_base_that_is_nowhere_is_told_with_the_remedy(client: DockerClient) -> None:
    name = f"127.0.0.1:9/nowhere-{uuid.uuid4().hex}:1"
    with pytest.raises(ImageError) as raised:
        bases.find(client, name, lambda _step: None)
    text = str(raised.value)
    assert text.startswith(f"{name} is not here and cannot be pulled: ")
    assert text.endswith("; name another base with --base or LAB_IMAGE_BASE")
    assert "\n" not in text


@dataclass(frozen=True)
class Nowhere:
    """A machine whose default base no registry has, with apt and mmdebstrap of the test's own on its PATH."""

    tools: Path
    bootstrapped: str

    def write(self, tool: str, script: str) -> None:
        path = self.tools / tool
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture
def nowhere(client: DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nowhere]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    made = Nowhere(tmp_path, f"{name}/base:{platform.freedesktop_os_release().get('VERSION_CODENAME', 'unknown')}")
    made.write("apt-get", 'echo "deb file:/mirror/ stable main"')
    made.write("apt-config", "echo 'Acquire::http::Proxy \"http://127.0.0.1:9\";'; echo 'Acquire::Languages \"en\";'")
    monkeypatch.delenv(bases.VARIABLE, raising=False)
    monkeypatch.setattr(bases, "DEFAULT", f"127.0.0.1:9/{name}:1")
    monkeypatch.setattr(bases, "_BOOTSTRAPPED", f"{name}/base")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    yield made
    if bases.local(client, made.bootstrapped):
        client.images.remove(made.bootstrapped)


def test_without_a_registry_the_base_is_made_of_packages_once(client: DockerClient, nowhere: Nowhere) -> None:
    (nowhere.tools / "tiny.tar").write_bytes(archive("of-packages"))
    nowhere.write("mmdebstrap", MMDEBSTRAP.format(folder=nowhere.tools))
    steps: list[str] = []
    made = bases.find(client, None, steps.append)
    assert made.name == nowhere.bootstrapped
    assert made.note.startswith(f"made of Debian's packages, as {bases.DEFAULT} is not here and cannot be pulled: ")
    assert steps[-1].endswith(f"; making {made.name} of Debian's packages")
    assert (nowhere.tools / "sources").read_text() == "deb file:/mirror/ stable main\n"
    assert (nowhere.tools / "options").read_text() == 'Acquire::http::Proxy "http://127.0.0.1:9";\n'
    (nowhere.tools / "mmdebstrap").unlink()
    assert bases.find(client, None, steps.append) == bases.Base(made.name, made.id)


def test_without_a_registry_and_mmdebstrap_the_error_says_what_to_install(
    client: DockerClient, nowhere: Nowhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(nowhere.tools))
    with pytest.raises(MissingToolError) as raised:
        bases.find(client, None, lambda _step: None)
    text = str(raised.value)
    assert text.startswith(f"{bases.DEFAULT} is not here and cannot be pulled: ")
    assert text.endswith(
        "; it can be made of Debian's packages instead, but mmdebstrap is not installed; "
        "install it: apt-get install mmdebstrap"
    )


def test_without_a_registry_and_lists_of_packages_the_error_says_how_to_get_them(
    client: DockerClient, nowhere: Nowhere
) -> None:
    nowhere.write("mmdebstrap", "exit 1")
    nowhere.write("apt-get", "true")
    with pytest.raises(
        ImageError, match=r"and apt has no lists of Debian's packages .*: apt-get update, or --base IMAGE$"
    ):
        bases.find(client, None, lambda _step: None)


def test_a_base_that_cannot_be_made_is_told_with_the_last_words_of_mmdebstrap(
    client: DockerClient, nowhere: Nowhere
) -> None:
    nowhere.write("mmdebstrap", "echo E: no mirror >&2; exit 1")
    with pytest.raises(LabError, match=r"^mmdebstrap: E: no mirror$"):
        bases.find(client, None, lambda _step: None)
