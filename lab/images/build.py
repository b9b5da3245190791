"""Builds images: those that are not there yet under the tag of their content."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lab.errors import ImageError
from lab.images import base as bases
from lab.images import table
from lab.images.context import Image
from lab.images.daemon import doing

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "lab.image"
BASE_LABEL = "lab.base"
_LAST_LINES = 10
_BUILD_SECONDS = 1800  # without a word from the daemon
# Docker hands these to what a Dockerfile runs, and does not keep them in the image.
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def ensure(client: DockerClient, name: str, on_step: Callable[[str], None] = lambda _step: None) -> str:
    """Return the tag of an image, after building it if it is not there.

    Args:
        name: one of `table.names()`.
        on_step: called with each step of a build, in words, before it is taken.

    Raises:
        ImageError: it cannot be built; carries the end of the build's log.
        UsageError: there is none of that name.
    """
    return build(client, table.named(name), bases.find(client, bases.wanted(None), on_step), on_step)


def tag_of(image: Image, base: bases.Base) -> str:
    """Return the tag of an image as its sources are now."""
    return f"lab/{image.name}:{image.digest(base.id)}"


def build(client: DockerClient, image: Image, base: bases.Base, on_step: Callable[[str], None]) -> str:
    """Return the tag of an image on this base, after building it if it is not there; raises as `ensure`."""
    tag = tag_of(image, base)
    with doing(f"image {image.name}"):
        if client.api.images(name=tag):
            return tag
        output = client.api.build(
            fileobj=image.archive(),
            custom_context=True,
            tag=tag,
            buildargs={"BASE": base.name, **{name: os.environ[name] for name in _PROXIES if name in os.environ}},
            labels={LABEL: image.name, BASE_LABEL: base.name},
            network_mode="host",  # the daemon's own way to the mirrors, whatever its bridges can reach
            rm=True,
            forcerm=True,
            timeout=_BUILD_SECONDS,
            decode=True,
        )
        _watch(image.name, output, on_step)
    return tag


def _watch(name: str, output: Iterable[dict[str, Any]], on_step: Callable[[str], None]) -> None:
    """Follow a build to its end.

    Raises:
        ImageError: a step failed.
    """
    last: deque[str] = deque(maxlen=_LAST_LINES)
    problem = ""
    for message in output:  # to its end, as the connection is free for other requests only then
        problem = problem or message.get("error", "").strip()
        for line in message.get("stream", "").splitlines():
            step = re.match(r"Step (\d+)/(\d+) : (.*)", line)
            if step:
                on_step(f"image {name}: step {step[1]} of {step[2]}: {step[3]}")
            if line.strip():
                last.append(line.rstrip())
    if problem:
        log = "\n".join(f"    {line}" for line in last)
        msg = f"image {name}: {problem}; its log ends:\n{log}"
        raise ImageError(msg)
