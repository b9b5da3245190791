"""The Docker daemon: reaching it, doing many things there at once, and saying in one line why one was refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

from docker import DockerClient

from lab.errors import BackendError, NotSupportedError
from lab.images import daemon

AT_ONCE = 8  # requests; the daemon does no more at a time, however many it has
_T = TypeVar("_T")
_R = TypeVar("_R")


def connect() -> DockerClient:
    """Return a client of the daemon on this machine.

    Raises:
        NotSupportedError: none answers, it is on another machine, or this user is not root.
    """
    host = os.environ.get("DOCKER_HOST", "")
    if host and not host.startswith("unix://"):
        msg = f"the Docker daemon at {host} may be on another machine, and a lab must be on its own: unset DOCKER_HOST"
        raise NotSupportedError(msg)
    if os.geteuid() != 0:
        msg = "labs of containers need root, to enter the containers from outside: sudo, or --backend netns"
        raise NotSupportedError(msg)
    return daemon.connect()


def doing(what: str) -> AbstractContextManager[None]:
    """Turn a daemon's refusal, or its end, into a BackendError of one line that begins with what it was to do."""
    return daemon.doing(what, BackendError)


def together(do: Callable[[_T], _R], things: Iterable[_T]) -> list[_R]:
    """Do something to several things at once, and return the results in their order.

    Raises:
        LabError: the first that failed; none is under way any more.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(do, things))
