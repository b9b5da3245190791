"""How fast a lab on Docker comes up and goes down, beside others that build the same there; all in one run.

Behind `script/bench docker`. All of them run the same image on the same daemon.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

from lab import images
from lab.errors import LabError
from lab.images.daemon import connect
from tests.bench.contestants import LAB, Contestant
from tests.bench.race import Figures, interleaved, median

OURS = "lab --backend docker"
SIZES = (10, 50)
_KATHARA = Path(__file__).resolve().parents[2] / "build" / "kathara" / "bin" / "python"
_INSTALL_COMPOSE = "not installed (apt-get install docker-compose)"
_INSTALL_KATHARA = "not installed (uv venv build/kathara; uv pip install --python build/kathara/bin/python kathara)"


def contestants(image: str) -> tuple[Contestant, ...]:
    """Return all contestants, also those that are missing here."""
    compose = (*_module("with_compose"), image)
    kathara = (*_module("with_kathara"), str(_KATHARA), image)
    return (
        Contestant(OURS, (*_module("with_lab_command"), LAB, "--backend", "docker")),
        Contestant("docker SDK, in turn", (*_module("with_docker_sdk"), image)),
        Contestant(
            "docker-compose", compose, missing=_trial(*compose) if shutil.which("docker-compose") else _INSTALL_COMPOSE
        ),
        Contestant("kathara", kathara, missing=_trial(*kathara) if _KATHARA.exists() else _INSTALL_KATHARA),
    )


def race(sizes: Sequence[int], rounds: int) -> Figures:
    """Measure everybody who can take part.

    Raises:
        LabError: there is no daemon, or no image.
    """
    with closing(connect()) as client:
        everyone = contestants(images.ensure(client, "toolbox"))
    present = [one for one in everyone if not one.missing]
    results = interleaved(
        {(one.name, hosts): partial(one.up_down, hosts) for hosts in sizes for one in present},
        rounds,
    )
    labs = {one.name: {hosts: median(results[one.name, hosts]) for hosts in sizes} for one in present}
    return Figures(labs, {}, {one.name: one.missing for one in everyone if one.missing})


def as_text(figures: Figures) -> str:
    """Return a table of medians, each figure beside its ratio to ours."""
    lines = [f"{'one network and N nodes':<24}{'N':>4}{'up':>11}{'/ ours':>9}{'down':>11}{'/ ours':>9}"]
    for name, sizes in figures.labs.items():
        for hosts, timing in sizes.items():
            ours = figures.labs[OURS][hosts]
            lines.append(
                f"{name:<24}{hosts:>4}{timing.up:>9.2f} s{timing.up / ours.up:>9.2f}"
                f"{timing.down:>9.2f} s{timing.down / ours.down:>9.2f}"
            )
    lines += [f"{name:<24}{reason}" for name, reason in figures.missing.items()]
    return "\n".join(lines) + "\n"


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.bench.{name}")


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _trial(*command: str) -> str | None:
    """Return why a contestant's program cannot run here, if so: its last words, after trying it out with one node."""
    done = subprocess.run([*command, "1"], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def main() -> None:
    """Run the race and print it."""
    parser = argparse.ArgumentParser(prog="script/bench docker", description=sys.modules[__name__].__doc__)
    parser.add_argument("--nodes", type=_sizes, default=SIZES, help="labs have so many (default 10,50)", metavar="N,N")
    parser.add_argument("--rounds", type=int, default=3, help="medians are of so many (default 3)", metavar="N")
    parser.add_argument("--json", type=Path, help="write the figures there as well", metavar="FILE")
    options = parser.parse_args()
    try:
        figures = race(options.nodes, options.rounds)
    except LabError as error:
        parser.exit(error.exit_code, f"script/bench docker: {error}\n")
    sys.stdout.write(as_text(figures))
    if options.json:
        options.json.write_text(json.dumps(asdict(figures), indent=2) + "\n")


if __name__ == "__main__":
    main()
