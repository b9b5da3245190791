"""A Docker daemon, and file systems for tiny images, for tests of images."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lab.errors import NotSupportedError
from lab.images.daemon import connect

if TYPE_CHECKING:
    from docker import DockerClient


def connect_or_skip() -> DockerClient:
    """Return a client of the daemon; without one the test is skipped, with the reason."""
    try:
        return connect()
    except NotSupportedError as error:
        pytest.skip(str(error))


@pytest.fixture
def client() -> Iterator[DockerClient]:
    with closing(connect_or_skip()) as connected:
        yield connected


def archive(name: str) -> bytes:
    """A file system of one empty file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    return file.getvalue()
