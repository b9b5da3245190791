"""What a command costs: `lab --help` beside an empty Python, `lab exec` beside `nsenter`."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.bench.with_lab_command import lab_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The shell prints its number as the outside sees it: its /proc is still the outside's.
_HOLD = ("--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--", "sh", "-c")
_SAY_PID = "read -r pid rest < /proc/self/stat; echo $pid; read -r _"


def seconds(*command: str) -> float:
    """Return how long a command takes from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


@contextlib.contextmanager
def peer_commands() -> Iterator[dict[str, Callable[[], float]]]:
    """Hold namespaces for nsenter to enter, and give what to time, by name."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    hold = ["unshare", *user, *_HOLD, _SAY_PID]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pid = process.stdout.readline().strip() if process.stdout else ""
        yield {
            "python -c pass": functools.partial(seconds, sys.executable, "-c", "pass"),
            "nsenter": functools.partial(seconds, "nsenter", "--target", pid, "--all", "--", "true"),
        }


@contextlib.contextmanager
def lab_commands(lab: str) -> Iterator[dict[str, Callable[[], float]]]:
    """Hold a detached lab of two nodes, and give what to time, by name."""
    hold = [sys.executable, "-m", "tests.bench.with_lab_command", lab, "2"]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if not (process.stdout and process.stdout.readline()):
            raise RuntimeError("lab up failed")
        name = lab_name(process.pid)
        yield {
            "lab --help": functools.partial(seconds, lab, "--help"),
            "lab exec": functools.partial(seconds, lab, "exec", "--lab", name, "h1", "--", "true"),
        }
        process.communicate()
