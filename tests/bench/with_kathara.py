"""A peer with the same aim: Kathará, `lstart` and `lclean`. It keeps its settings in its user's home.

Its arguments: its interpreter, the tag of an image, the number of nodes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.protocol import call, contend

if TYPE_CHECKING:
    from collections.abc import Callable


def main(python: str, image: str, hosts: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        nodes = (f'h{number}[0]="lan"\nh{number}[image]="{image}"\n' for number in range(1, hosts + 1))
        Path(folder, "lab.conf").write_text("".join(nodes))

        def kathara(*arguments: str) -> None:
            environment = {**os.environ, "HOME": folder, "COLUMNS": "1000"}  # it breaks lines to fit the terminal
            call(python, "-m", "kathara", *arguments, "-d", folder, environment=environment)

        def up() -> Callable[[], None]:
            kathara("lstart", "--noterminals")
            return lambda: kathara("lclean")

        contend(up)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
