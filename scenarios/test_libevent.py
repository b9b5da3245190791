"""libevent (book 12): sockets, signals and timers are events of one loop. What any echo server does is in test_echo.

left (clients) ── lan ── right (server)
"""

import signal
import socket

import pytest

from lab.errors import MissingToolError
from lab.mutants import faulty
from lab.probes import tcp
from lab.running import Lab
from lab.wait import comes_true, wait_until

PORT = 7


@pytest.fixture(autouse=True)
def is_built(lab: Lab) -> None:
    """Skip where the program is not built, for want of the library."""
    try:
        lab.program("event_echo")
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("12")
@pytest.mark.mutant("it frees the connection at its end of file", faulty("event_echo", "DROPS_AT_END"))
def test_what_a_bufferevent_still_holds_is_sent_after_the_end_of_file(lab: Lab) -> None:
    """The library writes when it can, so at the end of the input some of the output may wait still.

    Freeing the bufferevent then frees that too. It has to wait until the output is empty.
    """
    with lab["right"].deploy("event_echo", port=PORT), a_narrow_connection(lab) as connection:
        sent = fill(lab, connection)
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: "ESTABLISHED" not in states(lab), timeout=10, what="the end to arrive")
        assert tcp.read_to_end(connection) == sent


def a_narrow_connection(lab: Lab) -> socket.socket:
    """A connection whose client has room for little, and so soon keeps the server from sending."""
    return lab["left"].connect(lab["right"].address(), PORT, receive_buffer=4096)


def fill(lab: Lab, connection: socket.socket) -> bytes:
    """Send until the server has more to send back than its kernel takes, and return all that was sent."""
    piece, count = bytes(range(251)) * 60, 0
    while in_the_program(lab, count * len(piece)) <= len(piece):
        connection.sendall(piece)
        count += 1
    return piece * count


def states(lab: Lab) -> set[str]:
    return {one.state for one in lab["right"].sockets() if one.local[1] == PORT}


def in_the_program(lab: Lab, sent: int) -> int:
    """How many bytes of those sent are in no kernel's buffer, once the server has read all of them."""

    def in_kernels() -> tuple[int, int]:
        server = next(one for one in lab["right"].sockets() if one.local[1] == PORT and one.remote[1])
        client = next(one for one in lab["left"].sockets() if one.remote[1] == PORT)
        return server.receive_queue + client.send_queue, server.send_queue + client.receive_queue

    wait_until(lambda: in_kernels()[0] == 0, timeout=10, what="the server to read all that was sent")
    return sent - in_kernels()[1]


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("12")
@pytest.mark.mutant("the timer comes once", faulty("event_echo", "TIMER_ONCE"))
def test_a_persistent_timer_comes_again_and_again(lab: Lab) -> None:
    """EV_PERSIST arms an event again by itself; without it a timer comes once."""
    address = lab["right"].address()
    with (
        lab["right"].deploy("event_echo", "--every", "50", port=PORT) as server,
        lab["left"].connect(address, PORT),
    ):
        assert comes_true(lambda: server.stderr.count("connections 1") >= 3)


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("12")
@pytest.mark.mutant("it frees its listener a second time", faulty("event_echo", "ENDS_TWICE"))
def test_a_second_signal_to_end_changes_nothing(lab: Lab) -> None:
    """Between the first signal and the end of the last connection there may be another: impatient people send some."""
    with lab["right"].deploy("event_echo", port=PORT) as server, a_narrow_connection(lab) as connection:
        sent = fill(lab, connection)
        server.signal(signal.SIGTERM)
        wait_until(lambda: "LISTEN" not in states(lab), timeout=10, what="the server to listen no more")
        server.signal(signal.SIGINT)
        assert tcp.read_to_end(connection) == sent
        assert server.wait().exit_code == 0
