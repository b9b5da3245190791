"""The backends that labs are really made of, by their names."""

from __future__ import annotations

from collections.abc import Mapping

from lab.backends.docker.client import DockerBackend
from lab.backends.netns.client import NetnsBackend
from lab.backends.owned.client import OwnedBackend

BACKENDS: Mapping[str, type[OwnedBackend]] = {"docker": DockerBackend, "netns": NetnsBackend}
DEFAULT = "netns"
