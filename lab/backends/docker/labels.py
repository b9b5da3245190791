"""The labels of what a lab has at the daemon: whose it is, and whether that one still lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LAB, NODE, NETWORK, ADDRESSES = "lab.name", "lab.node", "lab.network", "lab.addresses"
_ENDED = ("Z", "X")  # it has, and nobody has taken note of it yet
_OWNER, _MACHINE = "lab.owner", "lab.machine"


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that a lab belongs to.

    Attributes:
        process: its number and the time of its start: numbers are given again.
        machine: the boot and the PID namespace in which that number is its.
    """

    process: str
    machine: str

    @property
    def labels(self) -> dict[str, str]:
        """What all that belongs to it is labelled with."""
        return {_OWNER: self.process, _MACHINE: self.machine}


def myself() -> Owner:
    """Return the calling process."""
    return Owner(f"{os.getpid()}-{_started(os.getpid())}", f"{_boot()} {_numbering()}")


def is_dead(labels: Mapping[str, str]) -> bool:
    """Whether whoever these labels are of has ended.

    One in another PID namespace cannot be seen from here, and counts as alive until the machine is booted again.
    """
    process, _, started = labels.get(_OWNER, "").partition("-")
    boot, _, numbering = labels.get(_MACHINE, "").partition(" ")
    if boot != _boot():
        return True
    return numbering == _numbering() and started != _started(int(process))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _numbering() -> str:
    return Path("/proc/self/ns/pid").readlink().name


def _started(process: int) -> str:
    """Return when a process has started, in ticks since the boot; nothing if it has ended (proc_pid_stat(5))."""
    try:
        state, *others = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if state in _ENDED else others[18]
