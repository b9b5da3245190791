"""A nursery of labs that never come up: each waits for ever, at the moment that is the second argument.

python -m tests.slow_nursery DESCRIPTOR set_apart   before there is an owner
python -m tests.slow_nursery DESCRIPTOR build       in the owner
"""

from __future__ import annotations

import signal
import sys
from typing import Any, NoReturn

from lab.backends.netns.maker import NetnsMaker
from lab.backends.owned import nursery


def wait(*_arguments: Any) -> NoReturn:
    while True:
        signal.pause()


if __name__ == "__main__":
    setattr(NetnsMaker, sys.argv[2], wait)
    nursery.serve(NetnsMaker())
