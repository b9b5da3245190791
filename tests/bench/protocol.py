"""What a contestant's program says: up, then a wait for the end of stdin, then down.

Programs that run under other interpreters than the project's import it: it needs the standard library only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def contend(up: Callable[[], Callable[[], None]]) -> None:
    """Bring a lab up, wait until stdin ends, take it down.

    Says `{"up": SECONDS}` and `{"down": SECONDS}` on stdout, a line when each is done.

    Args:
        up: brings the lab up and returns what takes it down.
    """
    start = time.perf_counter()
    down = up()
    _say("up", start)
    try:
        sys.stdin.read()
    finally:  # interrupted or not
        start = time.perf_counter()
        down()
    _say("down", start)


def call(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a peer's command, and end with its last words if it fails; peers that tell of each step are silenced."""
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        sys.exit(done.stderr.strip() or done.stdout.strip())


def _say(event: str, start: float) -> None:
    sys.stdout.write(json.dumps({event: time.perf_counter() - start}) + "\n")
    sys.stdout.flush()
