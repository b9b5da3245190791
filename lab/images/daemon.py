"""Asking the Docker daemon, and saying in one line why it does not answer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.errors import ImageError, NotSupportedError

if TYPE_CHECKING:
    from docker import DockerClient

_DEFAULT_HOST = "unix:///var/run/docker.sock"


def connect() -> DockerClient:
    """Return a client of the daemon that DOCKER_HOST names, or of the machine's own.

    Raises:
        NotSupportedError: none answers there; says why, and what to do.
    """
    import docker  # noqa: PLC0415 - see the package
    from docker.errors import DockerException  # noqa: PLC0415

    host = os.environ.get("DOCKER_HOST", _DEFAULT_HOST)
    try:
        return docker.from_env()
    except DockerException as error:
        if any(isinstance(cause, PermissionError) for cause in _causes(error)):
            advice = "you may not use its socket; join its group (usermod -aG docker USER) or be root"
        elif any(isinstance(cause, FileNotFoundError) for cause in _causes(error)):
            advice = "it has no socket there; start it, or set DOCKER_HOST (script/with-docker COMMAND has its own)"
        else:
            advice = str(error)
        msg = f"no Docker daemon answers at {host}: {advice}"
        raise NotSupportedError(msg) from error


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Turn a daemon's refusal, or its end, into one line that begins with what it was to do.

    Raises:
        ImageError: the daemon refused, or was lost meanwhile.
    """
    from docker.errors import APIError, DockerException  # noqa: PLC0415 - see the package
    from requests import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except APIError as error:
        msg = f"{what}: {error.explanation or error}"
        raise ImageError(msg) from error
    except (DockerException, RequestException, HTTPError) as error:
        msg = f"{what}: the Docker daemon was lost meanwhile: {error}"
        raise ImageError(msg) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
