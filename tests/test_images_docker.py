"""Images, built and removed by a Docker daemon: tiny ones, on a base that each test brings itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docker.errors import ImageNotFound

from lab import servers
from lab.errors import ImageError, UsageError
from lab.images import base as bases
from lab.images import build, store
from lab.images.context import Image
from tests.commands import execute
from tests.docker_images import archive, client

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["client"]

pytestmark = pytest.mark.docker

PROGRAMS = {
    "dnsmasq": ["dnsmasq"],
    "haproxy": ["haproxy"],
    "nginx": ["nginx"],
    "servers": servers.names(),
    "squid": ["squid"],
    "toolbox": [
        *("curl", "dig", "ethtool", "gdb", "ifstat", "iperf3", "lsof", "mpstat", "nc", "ncat", "netstat", "nft"),
        *("nsenter", "python3", "setpriv", "socat", "ssh", "sshd", "strace", "tcpdump", "traceroute", "vmstat"),
        *("wget", "xinetd"),
    ],
}
IN_EACH = ["ip", "ping", "ps", "ss"]


@dataclass(frozen=True)
class Tiny:
    """An image of one file, on a base of another, under names that nobody else has.

    Attributes:
        steps: what the last build has told of itself.
    """

    client: DockerClient
    image: Image
    base: bases.Base
    steps: list[str] = field(default_factory=list)

    def build(self, base: bases.Base | None = None) -> str:
        self.steps.clear()
        return build.build(self.client, self.image, base or self.base, self.steps.append)

    def write(self, name: str, text: str) -> None:
        (self.image.folders[""] / name).write_text(text)

    def stored(self) -> list[store.Stored]:
        return [one for one in store.stored(self.client) if one.name == self.image.name]


@pytest.fixture
def tiny(client: DockerClient, tmp_path: Path) -> Iterator[Tiny]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    base = f"{name}/base:tiny"
    client.api.import_image_from_data(archive("of-the-base"), f"{name}/base", "tiny")
    found = bases.local(client, base)
    assert found
    made = Tiny(client, Image(name, {"": tmp_path}), found)
    made.write("Dockerfile", "ARG BASE\nFROM ${BASE}\nLABEL lab.image=unfinished\nCOPY file /file\n")
    made.write("file", "1")
    yield made
    for one in store.stored(client):
        with suppress(ImageNotFound):  # another test's, and gone meanwhile
            if made.base.id in {layer["Id"] for layer in client.images.get(one.id).history()}:
                client.images.remove(one.id, force=True)  # what a failed build has left, too
    client.images.remove(base)


def test_an_image_is_built_on_its_base_and_says_its_steps(tiny: Tiny) -> None:
    tag = tiny.build()
    assert f"image {tiny.image.name}: step 4 of 6: COPY file /file" in tiny.steps  # the labels are two more
    (one,) = tiny.stored()
    assert (one.tag, one.base) == (tag, tiny.base.name)
    labels = tiny.client.images.get(tag).labels
    assert labels["lab.image"] == tiny.image.name


def test_an_image_that_is_there_is_not_built_again(tiny: Tiny) -> None:
    tag = tiny.build()
    assert tiny.build() == tag
    assert tiny.steps == []


def test_a_changed_file_makes_another_image(tiny: Tiny) -> None:
    first = tiny.build()
    tiny.write("file", "2")
    second = tiny.build()
    assert second != first
    assert tiny.steps
    assert {one.tag for one in tiny.stored()} == {first, second}
    tiny.write("file", "1")
    assert tiny.build() == first
    assert tiny.steps == []


def test_another_base_makes_another_image(tiny: Tiny) -> None:
    first = tiny.build()
    name = tiny.base.name.removesuffix("tiny") + "other"
    tiny.client.api.import_image_from_data(archive("of-another-base"), *name.split(":"))
    other = bases.local(tiny.client, name)
    assert other
    try:
        second = tiny.build(other)
        assert second != first
        assert tiny.steps
        tiny.client.images.remove(second)
    finally:
        tiny.client.images.remove(name)


def test_a_failed_build_is_told_with_the_end_of_its_log_and_leaves_no_tag(tiny: Tiny) -> None:
    tiny.write("Dockerfile", "ARG BASE\nFROM ${BASE}\nLABEL lab.image=unfinished\nCOPY missing /file\n")
    with pytest.raises(ImageError) as raised:
        tiny.build()
    first, *log = str(raised.value).splitlines()
    assert first.startswith(f"image {tiny.image.name}: COPY failed: ")
    assert first.endswith("; its log ends:")
    assert log[-1].strip() == "Step 4/6 : COPY missing /file"
    assert tiny.stored() == []


def test_a_wrong_dockerfile_is_told_in_one_line(tiny: Tiny) -> None:
    tiny.write("Dockerfile", "ARG BASE\nFROM ${BASE}\nCOPPY file /file\n")
    with pytest.raises(ImageError, match=rf"^image {tiny.image.name}: .*COPPY[^\n]*$"):
        tiny.build()


def test_images_are_removed_by_name_and_those_of_others_stay(tiny: Tiny) -> None:
    tags = [tiny.build()]
    tiny.write("file", "2")
    tags.append(tiny.build())
    other = replace(tiny, image=replace(tiny.image, name=f"{tiny.image.name}-other"))
    other.build()
    removed = store.remove(tiny.client, [tiny.image.name])
    assert {one.tag for one in removed} == set(tags)
    assert tiny.stored() == []
    assert len(other.stored()) == 1
    assert bases.local(tiny.client, tiny.base.name) == tiny.base


def test_an_image_without_our_label_is_none_of_ours(tiny: Tiny) -> None:
    assert tiny.base.name not in {one.tag for one in store.stored(tiny.client)}
    with pytest.raises(UsageError, match=f'^no image named "{tiny.base.name}" is here; there are '):
        store.remove(tiny.client, [tiny.base.name])


def test_an_image_in_use_is_not_removed_and_the_error_says_by_what(tiny: Tiny) -> None:
    tag = tiny.build()
    container = tiny.client.containers.create(tag, "/file", network_disabled=True)
    try:
        with pytest.raises(ImageError, match=f"^removing {tag}: conflict: .*{container.short_id}"):
            store.remove(tiny.client, [tiny.image.name])
    finally:
        container.remove()


def test_the_command_builds_on_the_base_that_it_is_given(tiny: Tiny) -> None:
    """The real Dockerfiles do not build on the tiny base, as it has no shell: the error says which, and where."""
    said = execute("images", "build", "dnsmasq", "--base", tiny.base.name)
    assert said.code == 1
    assert said.out == f"base: {tiny.base.name}\n"
    assert said.err.startswith("lab: image dnsmasq: ")
    assert "/bin/sh" in said.err


def test_the_command_lists_and_removes_images(tiny: Tiny) -> None:
    tag = tiny.build()
    listed = execute("images", "ls").out.splitlines()
    assert [line.split()[1] for line in listed if line.startswith(tiny.image.name)] == [tag]
    found = {one["tag"]: one for one in json.loads(execute("images", "ls", "--format", "json").out)}
    assert found[tag]["name"] == tiny.image.name
    assert not found[tag]["current"]  # there is no folder for it in images/
    said = execute("images", "rm", tiny.image.name)
    assert (said.code, said.out) == (0, f"removed {tag}\n")
    assert tiny.stored() == []


def in_image(client: DockerClient, name: str, script: str, *arguments: str) -> str:
    """Run a shell's script in an image of the project; building one is not a test's business, as it takes minutes."""
    built = [one.tag for one in store.stored(client) if one.name == name and one.current]
    if not built:
        pytest.skip(f"image {name} is not built as it is now: lab images build {name}")
    command = ["sh", "-c", script, "sh", *arguments]
    output: bytes = client.containers.run(built[0], command, network_mode="none", cap_drop=["ALL"], remove=True)
    return output.decode()


@pytest.mark.parametrize("name", [*PROGRAMS, "all"])
def test_an_image_has_its_programs(client: DockerClient, name: str) -> None:
    wanted = PROGRAMS.get(name) or [program for programs in PROGRAMS.values() for program in programs]
    absent = in_image(client, name, "for one; do command -v $one >/dev/null || echo $one; done", *IN_EACH, *wanted)
    assert absent == ""


@pytest.mark.parametrize("name", ["servers", "all"])
def test_the_servers_of_the_project_run_in_their_image(client: DockerClient, name: str) -> None:
    failed = in_image(client, name, "for one; do $one --help >/dev/null 2>&1 || echo $one; done", *servers.names())
    assert failed == ""
