"""What is kept of a lab in which a test has run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from lab.plan.text import render
from lab.running import Lab


def write_artifacts(lab: Lab, folder: Path) -> list[Path]:
    """Write plan, captures, notes and programs' output into the folder, in place of all in it; return the paths."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    written = [
        _write(folder / "plan.json", json.dumps(lab.plan.to_data(), indent=2)),
        _write(folder / "plan.txt", render(lab.plan)),
    ]
    finished = [capture for capture in lab.captures if capture.finished]
    for number, capture in enumerate(finished, 1):
        dropped = f"# {capture.trace.dropped} packets dropped by the kernel\n"
        written.append(_write(folder / f"trace-{number}.txt", f"{dropped}{capture.trace}\n"))
        pcaps = folder / f"trace-{number}"
        pcaps.mkdir(exist_ok=True)
        written += capture.write_pcaps(pcaps)
    written += [_write(folder / name, tell()) for name, tell in lab.notes.items()]
    for process in lab.processes:
        name = f"{process.node}-{Path(process.arguments[0]).name}-{process.pid}"
        written += [
            _write(folder / f"{name}.stdout", process.stdout),
            _write(folder / f"{name}.stderr", process.stderr),
        ]
    for log in sorted((lab.backend.folder / "logs").glob("*/*.log")):
        name = f"{log.parent.name}-{log.stem}.log"
        written.append(_write(folder / name, log.read_text(encoding="utf-8", errors="replace")))
    return written


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
