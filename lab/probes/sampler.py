"""A connection's congestion control over time: TCP_INFO, looked at whenever something has happened, as a table.

    sampler = Sampler(client)
    lab.notes["client.csv"] = sampler.csv
    assert comes_true(lambda: sampler.sample().cwnd == 20)

There is no clock that ticks. What a sender may do changes when an ACK comes or a timer runs out, so whoever moves the
connection on, or waits for its state, takes a sample each time.
"""

from __future__ import annotations

import csv
import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from lab.probes.tcpinfo import TcpInfo, tcp_info

COLUMNS = ("cwnd", "ssthresh", "in_flight", "bytes_in_flight", "rtt", "rto", "congestion", "total_retrans")
"""What the table has beside the time: attributes of `TcpInfo`, in its units."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the kernel told at one moment.

    Attributes:
        seconds: since the first sample.
    """

    seconds: float
    info: TcpInfo


class Sampler:
    """The samples of one connection; one that tells nothing new is not kept."""

    def __init__(
        self,
        connection: socket.socket,
        ask: Callable[[socket.socket], TcpInfo] = tcp_info,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the first sample.

        Args:
            clock: seconds.
        """
        self._connection = connection
        self._ask = ask
        self._clock = clock
        self._begun = clock()
        self.samples: list[Sample] = []
        self.sample()

    def sample(self) -> TcpInfo:
        """Return what the kernel tells now."""
        info = self._ask(self._connection)
        if not self.samples or info != self.samples[-1].info:
            self.samples.append(Sample(self._clock() - self._begun, info))
        return info

    def values(self, attribute: str) -> list[Any]:
        """Return the values that an attribute of `TcpInfo` had, one after the other."""
        return [value for value, _ in groupby(getattr(sample.info, attribute) for sample in self.samples)]

    def csv(self) -> str:
        """Return the samples as comma-separated values, with a line of names: seconds and `COLUMNS`."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("seconds", *COLUMNS))
        for sample in self.samples:
            writer.writerow((f"{sample.seconds:.6f}", *(getattr(sample.info, column) for column in COLUMNS)))
        return text.getvalue()
