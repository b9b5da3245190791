"""The project's own servers and clients, written in C++: where they are, and how they are built.

They are built by CMake from `servers/` (see servers/README.md), once for each preset of CMakePresets.json.
LAB_SERVERS in the environment names the preset whose programs run: release if it is not set, dev for those with
sanitizers.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab import command
from lab.errors import MissingToolError

SOURCES = Path(__file__).resolve().parents[1] / "servers"
PRESETS = ("release", "dev", "tsan", "clang")


def names() -> list[str]:
    """Return the names of the programs, built or not."""
    return sorted(path.stem for path in SOURCES.glob("*.cc"))


def program(name: str, fault: str = "") -> str:
    """Return the path of a program.

    Args:
        fault: one of `servers/mutants/mutants.cmake` that the program is to have.

    Raises:
        MissingToolError: it is not built.
    """
    build = SOURCES / "build" / ("release" if fault else os.environ.get("LAB_SERVERS", "release"))
    path = build / "mutants" / fault / name if fault else build / "bin" / name
    if not path.is_file():
        msg = f"{name} is not built: there is no {path}; lab build makes it"
        raise MissingToolError(msg)
    return str(path)


def build(preset: str, targets: tuple[str, ...] = ()) -> None:
    """Build the programs, those that have changed; what the compiler says goes to the caller's terminal.

    Args:
        targets: only these; all without any.

    Raises:
        MissingToolError: CMake is not installed.
        LabError: they cannot be built; the compiler has said why.
    """
    chosen = ["--target", *targets] if targets else []
    for arguments in (["--preset", preset], ["--build", "--preset", preset, *chosen]):
        command.run_in_terminal(["cmake", *arguments], cwd=SOURCES)  # it knows its presets in their folder only
