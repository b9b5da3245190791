"""Ours, from the command line: `lab up FILE` and `lab down NAME`, start of the interpreter included.

Its arguments: the command, options for `lab up`, the number of nodes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.protocol import contend
from tests.bench.topology import one_switch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def lab_name(pid: int) -> str:
    """Return what this program calls its lab when it runs as process `pid`."""
    return f"bench-{pid}"


def main(lab: str, options: Sequence[str], hosts: int) -> None:
    name = lab_name(os.getpid())

    def up() -> Callable[[], None]:
        subprocess.run([lab, "up", *options, file], check=True, stdout=subprocess.DEVNULL)
        return down

    def down() -> None:
        subprocess.run([lab, "down", name], check=True, stdout=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bench.yaml")
        file.write_text(one_switch(name, hosts))
        contend(up)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:-1], int(sys.argv[-1]))
