"""A lab with packets on the way on its wires: they do not hold its end up."""

from __future__ import annotations

import time

from lab.pytest_plugin import Labs
from lab.wait import wait_until
from tests.link_labs import pair

DELAY = 50  # seconds


def test_a_lab_goes_down_at_once_although_packets_are_on_their_way(labs: Labs) -> None:
    with pair(labs, "wire: true") as lab:
        link = lab["a"].link()
        delayed = link.delay(DELAY)
        lab["a"].start("ping", "-c", "1", lab["b"].address())  # or rather the question for b's MAC address
        wait_until(lambda: delayed.done > 0, timeout=10, what="the wire to have a packet")
        began = time.monotonic()
    assert time.monotonic() - began < DELAY / 2
