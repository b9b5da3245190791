"""The images of this project that a daemon has: listing them, and removing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import UsageError
from lab.images import base as bases
from lab.images import table
from lab.images.build import BASE_LABEL, LABEL, tag_of
from lab.images.daemon import doing

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass(frozen=True, slots=True)
class Stored:
    """An image that the daemon has.

    Attributes:
        name: of the image; "base" for one made of packages, "unfinished" for what a build has left behind.
        tag: empty for what has none.
        base: the name of the image that it was built on.
        size: bytes, with all that it shares with others.
        created: seconds since the epoch.
        current: whether nodes would run in it now; others are built from what has changed since.
    """

    name: str
    tag: str
    id: str
    base: str
    size: int
    created: float
    current: bool


def stored(client: DockerClient) -> list[Stored]:
    """Return the images of ours, by name, the newest first."""
    base = bases.local(client, bases.wanted(None))
    current = {tag_of(table.named(name), base) for name in table.names()} | {base.name} if base else set()
    with doing("listing images"):
        found = client.api.images(filters={"label": LABEL})
    images = [
        Stored(
            name=image["Labels"][LABEL],
            tag=tag,
            id=image["Id"],
            base=image["Labels"].get(BASE_LABEL, ""),
            size=image["Size"],
            created=image["Created"],
            current=tag in current,
        )
        for image in found
        for tag in _tags(image["RepoTags"])
    ]
    return sorted(images, key=lambda image: (image.name, -image.created))


def remove(client: DockerClient, names: Sequence[str]) -> list[Stored]:
    """Remove images of ours, by their names, and return them; all of them without a name.

    Raises:
        UsageError: the daemon has none of such a name.
        ImageError: one is in use.
    """
    ours = stored(client)
    here = sorted({image.name for image in ours})
    missing = [name for name in names if name not in here]
    if missing:
        msg = f'no image named "{missing[0]}" is here; there are {", ".join(here) or "none"}'
        raise UsageError(msg)
    # What others were built on goes last.
    chosen = sorted((one for one in ours if not names or one.name in names), key=lambda one: one.created, reverse=True)
    for image in chosen:
        with doing(f"removing {image.tag or image.id}"):
            client.api.remove_image(image.tag or image.id)
    return chosen


def _tags(tags: Sequence[str] | None) -> Sequence[str]:
    named = [tag for tag in tags or () if tag != "<none>:<none>"]
    return named or [""]
