"""Samples of a connection, and the table that they make."""

from __future__ import annotations

import csv
import io
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from lab.probes.sampler import COLUMNS, Sampler
from lab.probes.tcpinfo import TcpInfo, tcp_info


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        yield ours


def sampler(connection: socket.socket, windows: Sequence[int]) -> Sampler:
    """The samples of a connection that had these windows, at a second's distance."""
    like = tcp_info(connection)
    told = iter([replace(like, cwnd=window) for window in windows])
    seconds = iter(range(100, 200))

    def ask(_connection: socket.socket) -> TcpInfo:
        return next(told)

    made = Sampler(connection, ask, lambda: next(seconds))
    for window in windows[1:]:
        assert made.sample().cwnd == window
    return made


def test_what_is_told_twice_is_one_sample(connection: socket.socket) -> None:
    assert [sample.info.cwnd for sample in sampler(connection, [10, 10, 20, 20, 10]).samples] == [10, 20, 10]


def test_values_are_those_that_an_attribute_had_one_after_the_other(connection: socket.socket) -> None:
    made = sampler(connection, [10, 20, 10])
    assert made.values("cwnd") == [10, 20, 10]
    assert made.values("state") == ["ESTABLISHED"]


def test_the_table_has_a_line_for_each_sample_with_its_time(connection: socket.socket) -> None:
    rows = list(csv.DictReader(io.StringIO(sampler(connection, [10, 20, 40]).csv())))
    assert list(rows[0]) == ["seconds", *COLUMNS]
    assert [row["cwnd"] for row in rows] == ["10", "20", "40"]
    times = [float(row["seconds"]) for row in rows]
    assert times == sorted(set(times))
    assert {row["congestion"] for row in rows} == {"open"}


def test_what_is_in_flight_is_told_in_bytes_too(connection: socket.socket) -> None:
    like = replace(tcp_info(connection), unacked=5, sacked=1, lost=2, retrans=1, snd_mss=1448)
    made = Sampler(connection, lambda _connection: like)
    (row,) = csv.DictReader(io.StringIO(made.csv()))
    assert (row["in_flight"], row["bytes_in_flight"]) == ("3", "4344")


def test_the_kernel_is_asked(connection: socket.socket) -> None:
    assert Sampler(connection).sample() == tcp_info(connection)
