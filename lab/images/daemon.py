"""Asking the Docker daemon, and saying in one line why it does not answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lab.errors import ImageError, LabError, NotSupportedError

if TYPE_CHECKING:
    from docker import DockerClient

_UNIX = "unix://"
_DEFAULT_HOST = f"{_UNIX}/var/run/docker.sock"
_NONE = "no Docker daemon answers at"


def connect() -> DockerClient:
    """Return a client of the daemon that DOCKER_HOST names, or of the machine's own.

    Raises:
        NotSupportedError: none answers there; says why, and what to do.
    """
    import docker  # noqa: PLC0415 - see the package
    from docker.errors import DockerException  # noqa: PLC0415

    host = os.environ.get("DOCKER_HOST", _DEFAULT_HOST)
    try:
        _knock(host)
        return docker.from_env()
    except PermissionError as error:
        msg = f"{_NONE} {host}: you may not use its socket; join its group (usermod -aG docker USER) or be root"
        raise NotSupportedError(msg) from error
    except FileNotFoundError as error:
        msg = f"{_NONE} {host}: there is no such socket; start it, or set DOCKER_HOST, or script/with-docker COMMAND"
        raise NotSupportedError(msg) from error
    except (OSError, DockerException) as error:
        msg = f"{_NONE} {host}: {error}"
        raise NotSupportedError(msg) from error


@contextmanager
def doing(what: str, refusal: type[LabError] = ImageError) -> Iterator[None]:
    """Turn a daemon's refusal, or its end, into one line that begins with what it was to do.

    Raises:
        LabError: a `refusal`: the daemon refused, or was lost meanwhile.
    """
    from docker.errors import APIError, DockerException  # noqa: PLC0415 - see the package
    from requests import RequestException  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        yield
    except APIError as error:
        msg = f"{what}: {error.explanation or error}".replace("\n", " ")
        raise refusal(msg) from error
    except (DockerException, RequestException, HTTPError) as error:
        msg = f"{what}: the Docker daemon was lost meanwhile: {error}"
        raise refusal(msg) from error


def _knock(host: str) -> None:
    """Open the daemon's socket once; of the SDK an error would come wrapped up, with a socket left open.

    Raises:
        OSError: nobody opens.
    """
    if host.startswith(_UNIX):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(host.removeprefix(_UNIX))
