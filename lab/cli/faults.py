"""What `lab cut`, `restore`, `partition`, `kill` and `start` have in common."""

from __future__ import annotations

from lab.backends.base import RunningLab
from lab.backends.owned.client import attach
from lab.cli.chosen import chosen_lab
from lab.faults.model import Fault


def attached(name: str | None) -> RunningLab:
    """Return the lab that is meant."""
    return attach(chosen_lab(name))


def carry_out(lab: RunningLab, fault: Fault) -> None:
    """Do it and say so; what is so already is said too, and is no error."""
    changed = lab.fault(fault)
    print(f"{fault}: {'done' if changed else 'nothing to do'}")
