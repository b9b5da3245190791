"""The client's side of the Docker backend; it does without the Docker SDK, which takes long to import."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lab.backends.owned.client import OwnedBackend
from lab.errors import BackendError

# Folders of an image that nothing of the machine's may take the place of.
_IMAGES_OWN = frozenset(
    (
        *("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run", "/sbin"),
        *("/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/sbin", "/var"),  # noqa: S108 - names only
    )
)


class DockerBackend(OwnedBackend):
    """Labs of Docker containers and networks."""

    name = "docker"

    def seen_of(self, shared: Sequence[Path]) -> list[str]:
        """Keep those folders that containers can have in the same place, without those that lie in another."""
        real = sorted({os.path.realpath(path) for path in shared} - _IMAGES_OWN)
        return [path for path in real if not any(path.startswith(f"{other}/") for other in real)]

    def collect(self) -> None:
        """Remove the containers and networks of labs whose owners have ended."""
        host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        if os.geteuid() != 0 or not Path(host.removeprefix("unix://")).exists():
            return  # this user, or this machine, cannot have had any
        from lab.backends.docker import objects  # noqa: PLC0415 - the SDK takes long to import
        from lab.backends.docker.daemon import connect  # noqa: PLC0415 - as above

        refusals = objects.collect(connect())
        if refusals:
            msg = f"{'; '.join(refusals)}; if Docker goes on to refuse, restart its daemon"
            raise BackendError(msg)
