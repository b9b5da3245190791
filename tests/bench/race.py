"""The race: every contestant in turn, round after round, and the medians."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.bench.commands import lab_commands, peer_commands
from tests.bench.contestants import LAB, Contestant, Timing, command_missing, contestants

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Key = TypeVar("Key")
Result = TypeVar("Result")
_COMMAND_RUNS = 10  # for each round: they take milliseconds


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of a whole run.

    Attributes:
        labs: by contestant, then by number of hosts.
        commands: seconds, by name.
        missing: why, by contestant.
    """

    labs: dict[str, dict[int, Timing]]
    commands: dict[str, float]
    missing: dict[str, str]


def race(hosts: int, rounds: int) -> Figures:
    """Measure everything, with labs of `hosts`, twice and ten times as many."""
    with tempfile.TemporaryDirectory() as folder:
        floor = _build_floor(Path(folder))
        everyone = contestants(floor)
        present = [contestant for contestant in everyone if not contestant.missing]
        return Figures(
            labs=_labs(present, (hosts, 2 * hosts, 10 * hosts), rounds, floor),
            commands=_commands(rounds * _COMMAND_RUNS),
            missing={contestant.name: contestant.missing for contestant in everyone if contestant.missing},
        )


def _build_floor(folder: Path) -> Path:
    program = folder / "floor"
    subprocess.run(["gcc", "-O2", "-o", str(program), str(Path(__file__).with_name("floor.c"))], check=True)
    return program


def _labs(present: list[Contestant], sizes: tuple[int, ...], rounds: int, floor: Path) -> dict[str, dict[int, Timing]]:
    def action(contestant: Contestant, hosts: int) -> Callable[[], Timing]:
        def settle_and_run() -> Timing:
            subprocess.run([str(floor), "--settle"], check=True, stdout=subprocess.DEVNULL)
            return contestant.up_down(hosts)

        return settle_and_run

    results = interleaved(
        {
            (contestant.name, hosts): action(contestant, hosts)
            for hosts in sizes
            for contestant in present
            if hosts <= contestant.largest
        },
        rounds,
    )
    return {
        contestant.name: {
            hosts: median(results[contestant.name, hosts]) for hosts in sizes if (contestant.name, hosts) in results
        }
        for contestant in present
    }


def _commands(runs: int) -> dict[str, float]:
    with peer_commands() as peers, contextlib.ExitStack() as stack:
        ours = {} if command_missing() else stack.enter_context(lab_commands(LAB))
        results = interleaved({**peers, **ours}, runs)
    return {name: statistics.median(seconds) for name, seconds in results.items()}


def interleaved(actions: Mapping[Key, Callable[[], Result]], rounds: int) -> dict[Key, list[Result]]:
    """Call all in turn, `rounds` times over, so that a busy moment of the machine hits all alike."""
    results: dict[Key, list[Result]] = {key: [] for key in actions}
    for _ in range(rounds):
        for key, action in actions.items():
            results[key].append(action())
    return results


def median(timings: list[Timing]) -> Timing:
    """Return the timing whose figures are each the one in the middle."""
    return Timing(
        up=statistics.median(timing.up for timing in timings),
        down=statistics.median(timing.down for timing in timings),
        memory=statistics.median(timing.memory for timing in timings),
    )
