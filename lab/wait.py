"""The one place that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable

from lab.errors import WaitTimeoutError

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02


def wait_until(ready: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Return once `ready()` is true, asking often at first and then up to fifty times a second.

    Args:
        timeout: seconds.
        what: completes "waited for ..." in the error.

    Raises:
        WaitTimeoutError: it did not become true in time.
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while not ready():
        if time.monotonic() > deadline:
            msg = f"waited {timeout:g} s for {what}, in vain"
            raise WaitTimeoutError(msg)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def comes_true(claim: Callable[[], bool], *, timeout: float = 5.0) -> bool:
    """Return whether a claim becomes true within `timeout` seconds: what a scenario asserts of something to come."""
    try:
        wait_until(claim, timeout=timeout, what="a claim to come true")
    except WaitTimeoutError:
        return False
    return True
