"""Whether anything that is measured on this machine now means something.

On a shared machine a program may be kept from running for milliseconds although nothing else runs. Benchmarks compare
side by side, but a few such pauses on one side decide everything. So a benchmark is not judged while the machine is
noisy, and says so; one that fails on a quiet machine is tried again, as the noise may have come and gone meanwhile.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import pytest

_TRIES = 3
_SAMPLES = 300
_PAUSE = 0.001  # seconds
_TOLERATED = 0.001  # seconds too late, for one pause in a hundred; a quiet machine is a tenth of that late


def lateness() -> float:
    """Return by how many seconds the latest but two of 300 short pauses were too long."""

    def late() -> Iterator[float]:
        for _ in range(_SAMPLES):
            began = time.perf_counter()
            select.select([], [], [], _PAUSE)
            yield time.perf_counter() - began - _PAUSE

    return sorted(late())[-_SAMPLES // 100]


def skip_if_noisy() -> None:
    late = lateness()
    if late > _TOLERATED:
        pytest.skip(f"noisy, not measured: pauses of 1 ms are {1000 * late:.1f} ms too long on this machine now")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Judge a benchmark by the best of its tries."""
    if pyfuncitem.get_closest_marker("bench") is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    for left in reversed(range(_TRIES)):
        skip_if_noisy()
        try:
            pyfuncitem.obj(**arguments)
        except AssertionError:
            skip_if_noisy()
            if not left:
                raise
        else:
            break
    return True
