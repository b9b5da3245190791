"""The figures of a race as a text for people, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.race import Figures

_FLOOR = "floor"


def as_json(figures: Figures) -> str:
    """Return the figures as JSON; keys are the contestants' names and, as text, the numbers of hosts."""
    return json.dumps(dataclasses.asdict(figures), indent=2) + "\n"


def as_text(figures: Figures) -> str:
    """Return tables of medians, each figure beside its ratio to the floor."""
    lines = [*_labs(figures), *_growth(figures), *_commands(figures)]
    return "\n".join(lines) + "\n"


def _labs(figures: Figures) -> Iterator[str]:
    yield (
        f"{'one switch and N hosts':<24}{'N':>6}{'up':>11}{'/ floor':>9}"
        f"{'down':>11}{'up+down / floor':>17}{'KiB/host':>10}"
    )
    for name, sizes in figures.labs.items():
        for hosts, timing in sizes.items():
            floor = figures.labs[_FLOOR][hosts]
            both = (timing.up + timing.down) / (floor.up + floor.down)
            yield (
                f"{name:<24}{hosts:>6}{timing.up:>9.3f} s{timing.up / floor.up:>9.2f}"
                f"{timing.down:>9.3f} s{both:>17.2f}{timing.memory / hosts:>10.0f}"
            )
    for name, reason in figures.missing.items():
        yield f"{name:<24}{reason}"


def _growth(figures: Figures) -> Iterator[str]:
    yield ""
    yield "seconds for one host, in proportion to the smaller lab (1 is linear)"
    for name, sizes in figures.labs.items():
        for (few, small), (many, large) in pairwise(sizes.items()):
            yield f"{name:<24}{few:>6} to {many:<6}{(large.up / many) / (small.up / few):.2f}"


def _commands(figures: Figures) -> Iterator[str]:
    yield ""
    yield f"{'command':<24}{'':>6}{'takes':>12}"
    for name, seconds in figures.commands.items():
        yield f"{name:<30}{seconds * 1000:>9.1f} ms{_command_ratio(figures, name)}"


def _command_ratio(figures: Figures, name: str) -> str:
    peer = {"lab --help": "python -c pass", "lab exec": "nsenter"}.get(name)
    return f"   {figures.commands[name] / figures.commands[peer]:.2f} times {peer}" if peer else ""
