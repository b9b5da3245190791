"""Ours, from Python: from the text of a file to a lab and down again, as a test in the middle of a session does.

The first lab of a session also waits for its backend to start; `with_lab_command` pays that every time.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from lab.backends.netns.client import NetnsBackend
from lab.load import loads
from lab.plan.planner import plan
from lab.running import Lab
from tests.bench.protocol import contend
from tests.bench.topology import one_switch


def main(hosts: int) -> None:
    with contextlib.closing(NetnsBackend()) as backend:
        with Lab.up(plan(loads(one_switch("warm", 1))), backend):
            pass

        def up() -> Callable[[], None]:
            stack = contextlib.ExitStack()
            stack.enter_context(Lab.up(plan(loads(one_switch("bench", hosts))), backend))
            return stack.close

        contend(up)


if __name__ == "__main__":
    main(int(sys.argv[1]))
