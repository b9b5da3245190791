"""The labels of what a lab has at the daemon: whose it is, and whether that one still lives."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.backends.owned import registry

LAB, NODE, NETWORK, ADDRESSES = "lab.name", "lab.node", "lab.network", "lab.addresses"
_OWNER, _MACHINE = "lab.owner", "lab.machine"
_PROCESS = re.compile(r"(?P<number>\d+)-(?P<started>\d+)", re.ASCII)
_SPOT = re.compile(r"(?P<boot>[0-9a-f-]{36}) (?P<numbering>pid:\[\d+\])", re.ASCII)
_ENDED = ("Z", "X")  # it has, and nobody has taken note of it yet
_NOTE = "docker.json"


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab as its labels tell of it: its name alone may be another's too, later or in another folder of labs.

    Attributes:
        process: the number of its owner and the time of that one's start: numbers are given again.
        machine: the boot and the PID namespace in which that number is its.
    """

    name: str
    process: str
    machine: str

    @property
    def labels(self) -> dict[str, str]:
        """What all that belongs to it is labelled with, and nothing else is."""
        return {LAB: self.name, _OWNER: self.process, _MACHINE: self.machine}

    @property
    def is_dead(self) -> bool:
        """Whether its owner has ended.

        One in another PID namespace cannot be seen from here, and counts as alive until the machine is booted again.
        """
        process, spot = _PROCESS.fullmatch(self.process), _SPOT.fullmatch(self.machine)
        if not process or not spot:
            return False  # no lab of ours has such labels
        if spot["boot"] != _boot():
            return True
        return spot["numbering"] == _numbering() and process["started"] != _started(int(process["number"]))


def mine(name: str) -> Lab:
    """Return the lab of this name whose owner is the calling process."""
    return Lab(name, f"{os.getpid()}-{_started(os.getpid())}", f"{_boot()} {_numbering()}")


def lab_of(labels: Mapping[str, str]) -> Lab | None:
    """Return the lab that something with these labels belongs to; None if it is of none, whatever its name is."""
    wanted = (LAB, _OWNER, _MACHINE)
    return Lab(*(labels[key] for key in wanted)) if labels.keys() >= set(wanted) else None


def note(entry: registry.Entry, lab: Lab) -> None:
    """Note in a lab's folder, before it has anything, what is to be removed when its owner has ended.

    Raises:
        BackendError: it cannot be written.
    """
    registry.write(entry, _NOTE, json.dumps(lab.labels), 0o600)


def noted(entry: registry.Entry) -> Lab | None:
    """Return the lab that was noted; None if its owner has ended before it had anything."""
    try:
        with open(os.open(_NOTE, os.O_RDONLY, dir_fd=entry.directory), encoding="utf-8") as file:  # noqa: PTH123 - by descriptor
            return lab_of(json.load(file))
    except FileNotFoundError:
        return None


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
