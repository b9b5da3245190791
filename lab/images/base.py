"""The image that all others are built on: this machine's, a registry's, or made of Debian's packages."""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.command import find_tool, output_of
from lab.errors import ImageError, MissingToolError
from lab.images.daemon import doing

if TYPE_CHECKING:
    from docker import DockerClient

DEFAULT = "debian:bookworm-slim"
VARIABLE = "LAB_IMAGE_BASE"
_BOOTSTRAPPED = "lab/base"
_BOOTSTRAP_SECONDS = 1800
_SOURCES = ("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)")
_OF_DEBIAN = ("Identifier: Packages", "Origin: Debian")
# How this machine reaches its mirror: proxies, and whether old lists will do.
_ACCESS = re.compile(r"^Acquire::(?:https?|Check-).*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Base:
    """A base image that the daemon has.

    Attributes:
        id: the hash of its content; a name may stand for another image tomorrow.
        note: what a person should know of how it was come by.
    """

    name: str
    id: str
    note: str = ""


def wanted(option: str | None) -> str | None:
    """Return the base that was asked for, by an option or the variable; None if any will do."""
    return option or os.environ.get(VARIABLE) or None


def local(client: DockerClient, name: str | None) -> Base | None:
    """Return the base if the daemon has it; without a name, the default or what was once made in its place."""
    for candidate in (name,) if name else (DEFAULT, _bootstrapped()):
        found = _inspect(client, candidate)
        if found:
            return found
    return None


def find(client: DockerClient, name: str | None, on_step: Callable[[str], None]) -> Base:
    """Return the base, after pulling it; the default is made of Debian's packages where no registry has it.

    Raises:
        ImageError: it is not to be had; says why and what to do.
        MissingToolError: it could be made, but for a tool.
    """
    found = local(client, name)
    if found:
        return found
    try:
        return _pull(client, name or DEFAULT, on_step)
    except ImageError as error:
        if name:
            msg = f"{error}; name another base with --base or {VARIABLE}"
            raise ImageError(msg) from error
        return _bootstrap(client, str(error), on_step)


def _bootstrapped() -> str:
    """Return the name of the base made of this machine's own Debian release."""
    return f"{_BOOTSTRAPPED}:{platform.freedesktop_os_release().get('VERSION_CODENAME', 'unknown')}"


def _inspect(client: DockerClient, name: str, note: str = "") -> Base | None:
    from docker.errors import ImageNotFound  # noqa: PLC0415 - see the package

    with doing(f"base image {name}"):
        try:
            found = client.images.get(name)
        except ImageNotFound:
            return None
    return Base(name, str(found.id), note)


def _pull(client: DockerClient, name: str, on_step: Callable[[str], None]) -> Base:
    on_step(f"pulling {name}")
    with doing(f"{name} is not here and cannot be pulled"):
        found = client.images.pull(name)
    return Base(name, str(found.id))


def _bootstrap(client: DockerClient, reason: str, on_step: Callable[[str], None]) -> Base:
    """Make a base of packages from where this machine's own apt gets them, and let it go on there itself."""
    try:
        find_tool("mmdebstrap")
    except MissingToolError as error:
        msg = f"{reason}; it can be made of Debian's packages instead, but {error}"
        raise MissingToolError(msg) from error
    name = _bootstrapped()
    repository, _, release = name.partition(":")
    sources = output_of([*_SOURCES, *_OF_DEBIAN])
    if not sources:
        msg = f"{reason}; and apt has no lists of Debian's packages to make it of: apt-get update, or --base IMAGE"
        raise ImageError(msg)
    on_step(f"{reason}; making {name} of Debian's packages")
    with tempfile.TemporaryDirectory() as folder:
        archive, mirrors, options = (Path(folder) / file for file in ("base.tar", "sources.list", "apt.conf"))
        mirrors.write_text(sources)
        options.write_text("\n".join(_ACCESS.findall(output_of(["apt-config", "dump"]))) + "\n")
        make = ["mmdebstrap", "--variant=minbase", f"--aptopt={options}", "--dpkgopt=force-unsafe-io"]
        output_of([*make, release, str(archive), str(mirrors)], timeout=_BOOTSTRAP_SECONDS)
        with doing(f"base image {name}"):
            client.api.import_image_from_file(str(archive), repository, release, changes=["LABEL lab.image=base"])
    made = _inspect(client, name, f"made of Debian's packages, as {reason}")
    if made is None:
        msg = f"base image {name} is gone again; make it once more: lab images build"
        raise ImageError(msg)
    return made
