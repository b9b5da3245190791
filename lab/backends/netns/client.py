"""The client's side of the netns backend."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lab.backends.netns import entrance
from lab.backends.owned.client import OwnedBackend


class NetnsBackend(OwnedBackend):
    """Labs of Linux namespaces."""

    name = "netns"

    def seen_of(self, shared: Sequence[Path]) -> list[str]:
        """Keep those folders that a node would not see by itself."""
        real = (os.path.realpath(path) for path in shared)
        return sorted({path for path in real if path.startswith(entrance.PRIVATE_ROOTS)})
