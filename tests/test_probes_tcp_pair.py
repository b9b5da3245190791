"""Both ends of a connection, and the state that each is in."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from lab.netlink import sockdiag
from lab.probes import tcp_pair

PORT = tcp_pair.PORT


def tcp(state: str, port: int = PORT) -> sockdiag.Socket:
    """An entry of the socket table."""
    return sockdiag.Socket("tcp", state, ("10.0.1.1", port), ("10.0.1.2", 80), 0, 0, 0)


@dataclass
class FakeHost:
    """A host with an address of loopback, which shows one table after the other."""

    own_address: str = "127.0.0.1"
    tables: list[list[sockdiag.Socket]] = field(default_factory=list)

    def address(self) -> str:
        return self.own_address

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        return socket.socket(family, kind, protocol)

    def sockets(self) -> Sequence[sockdiag.Socket]:
        return self.tables.pop(0) if len(self.tables) > 1 else self.tables[0]


@pytest.fixture
def port() -> int:
    """A port that is free on all of loopback."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        number: int = probe.getsockname()[1]
    return number


def test_a_connection_has_two_ends_with_the_same_port(port: int) -> None:
    ours, theirs = tcp_pair.connect(FakeHost("127.0.0.2"), FakeHost("127.0.0.3"), port, timeout=3.0)
    with ours, theirs:
        assert ours.getsockname() == theirs.getpeername() == ("127.0.0.2", port)
        assert theirs.getsockname() == ours.getpeername() == ("127.0.0.3", port)
        assert (ours.gettimeout(), theirs.gettimeout()) == (3.0, 3.0)
        ours.sendall(b"hello")
        assert theirs.recv(5) == b"hello"


def test_nobody_listens_once_the_connection_is_there(port: int) -> None:
    client, server = FakeHost("127.0.0.2"), FakeHost("127.0.0.3")
    ours, theirs = tcp_pair.connect(client, server, port)
    with ours, theirs, socket.socket() as another:
        assert another.connect_ex(("127.0.0.3", port)) != 0


def test_a_connection_that_cannot_be_made_leaves_nothing_open(port: int) -> None:
    client, server = FakeHost("127.0.0.2"), FakeHost("127.0.0.3")
    with tcp_pair.bound(client, port), pytest.raises(OSError, match="in use"):
        tcp_pair.connect(client, server, port)
    tcp_pair.listening(server, port).close()


def test_so_reuseaddr_is_set_for_those_who_ask(port: int) -> None:
    for reuse in (False, True):
        with tcp_pair.bound(FakeHost(), port, reuse=reuse) as made:
            assert bool(made.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) is reuse


@pytest.mark.parametrize("table", [["LISTEN", "SYN_RECV"], ["SYN_RECV", "LISTEN"]])
def test_a_connection_counts_for_more_than_the_socket_that_listens(table: list[str]) -> None:
    assert tcp_pair.state(FakeHost(tables=[[tcp(state) for state in table]])) == "SYN_RECV"


def test_a_port_without_a_connection_is_that_of_the_socket_that_listens() -> None:
    assert tcp_pair.state(FakeHost(tables=[[tcp("LISTEN")]])) == "LISTEN"


def test_a_port_without_any_socket_is_closed() -> None:
    host = FakeHost(tables=[[tcp("ESTABLISHED", PORT + 1)]])
    assert (tcp_pair.entry(host), tcp_pair.state(host)) == (None, "CLOSED")


def test_a_state_is_awaited() -> None:
    host = FakeHost(tables=[[tcp("FIN_WAIT1")], [tcp("FIN_WAIT1")], [tcp("FIN_WAIT2")], [tcp("TIME_WAIT")]])
    assert tcp_pair.await_state(host, PORT, "FIN_WAIT2") == "FIN_WAIT2"


def test_a_state_that_does_not_come_is_told_by_the_one_that_is_there() -> None:
    host = FakeHost(tables=[[tcp("FIN_WAIT1")]])
    assert tcp_pair.await_state(host, PORT, "FIN_WAIT2", timeout=0.05) == "FIN_WAIT1"
