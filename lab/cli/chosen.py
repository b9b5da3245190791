"""Which lab a command means."""

from __future__ import annotations

import os

from lab.backends.owned import registry
from lab.errors import UsageError


def chosen_lab(name: str | None) -> str:
    """Return the name given, or that in the variable LAB, or that of the only lab there is.

    Raises:
        UsageError: there is none, or more than one.
    """
    name = name or os.environ.get("LAB")
    if name:
        return name
    running = registry.names()
    if not running:
        msg = 'no lab is up; "lab up FILE" starts one'
        raise UsageError(msg)
    if len(running) > 1:
        msg = f"several labs are up ({', '.join(running)}); say which"
        raise UsageError(msg)
    return running[0]
