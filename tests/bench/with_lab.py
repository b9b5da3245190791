"""Ours, from Python: from the text of a file to a lab and down again, as a test in the middle of a session does.

The first lab of a session also waits for its backend to start; `with_lab_command` pays that every time. So there is one
before that is not measured, and the kernel gets the time to destroy it, as between contestants.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable

from lab.backends.netns.client import NetnsBackend
from lab.load import loads
from lab.plan.planner import plan
from lab.running import Lab
from tests.bench.protocol import contend
from tests.bench.topology import one_switch


def main(floor: str, hosts: int) -> None:
    with contextlib.closing(NetnsBackend()) as backend:
        with Lab.up(plan(loads(one_switch("warm", 1))), backend):
            pass
        subprocess.run([floor, "--settle"], check=True, stdout=subprocess.DEVNULL)

        def up() -> Callable[[], None]:
            stack = contextlib.ExitStack()
            stack.enter_context(Lab.up(plan(loads(one_switch("bench", hosts))), backend))
            return stack.close

        contend(up)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
