"""Who takes part: a table of programs that bring the same lab up and down. To take part is a row here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_LARGEST = 1023  # a Linux bridge has no more ports
_MININET = Path("/usr/lib/python3/dist-packages/mininet")  # Debian's package, for Debian's Python
LAB = str(Path(sys.executable).with_name("lab"))


@dataclass(frozen=True, slots=True)
class Timing:
    """One lab's life.

    Attributes:
        up: seconds.
        down: seconds until the contestant says so; the kernel may still be tidying.
        memory: KiB that the idle lab, its processes and the kernel's part of it, takes of the machine.
    """

    up: float
    down: float
    memory: float


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program that speaks `protocol`; the number of hosts is its last argument.

    Attributes:
        largest: hosts; it sits larger labs out.
        missing: why it cannot take part here, and what to do about it.
    """

    name: str
    command: tuple[str, ...]
    largest: int = _LARGEST
    missing: str | None = None

    def up_down(self, hosts: int) -> Timing:
        """Bring a lab up, weigh it, and take it down.

        Raises:
            RuntimeError: the program failed; its own words are on stderr.
        """
        before = _available_memory()
        command = [*self.command, str(hosts)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline() if process.stdout else ""
            after = _available_memory()
            second, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{self.name} failed with {hosts} hosts")
        return Timing(json.loads(first)["up"], json.loads(second)["down"], before - after)


def contestants(floor: Path) -> tuple[Contestant, ...]:
    """Return all contestants, also those that are missing here; `floor` is the program made of floor.c."""
    return (
        Contestant("floor", (str(floor),)),
        Contestant("floor --full", (str(floor), "--full")),
        # ---- ours: the project's promises are about these two
        Contestant("lab", (*_module("with_lab"), str(floor))),
        Contestant("lab up/down", (*_module("with_lab_command"), LAB), missing=command_missing()),
        # ---- the peers
        Contestant("ip -batch", (*_apart(), *_module("with_iproute")), largest=200, missing=_iproute_missing()),
        Contestant("mininet", (*_apart(), *_mininet()), largest=200, missing=_mininet_missing()),
    )


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.bench.{name}")


def _mininet() -> tuple[str, ...]:
    return ("/usr/bin/python3", "-m", "tests.bench.with_mininet")


def _apart() -> tuple[str, ...]:
    """What a program is put behind so that it leaves nothing on the machine: namespaces of its own."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", *user, "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--")


def command_missing() -> str | None:
    """Return why the command `lab` cannot take part, if so."""
    return None if Path(LAB).exists() else "not installed (uv sync)"


def _iproute_missing() -> str | None:
    return None if shutil.which("ip") else "not installed (apt-get install iproute2)"


def _mininet_missing() -> str | None:
    return None if _MININET.exists() else "not installed (apt-get install mininet)"


def _available_memory() -> float:
    """Return KiB that could still be had (proc(5), MemAvailable)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))
