"""Clients that limit how long they wait for a connection: without blocking (book 9.5), and by SO_SNDTIMEO (11.1).

left (clients) ── lan ── right; a neighbour that is known and not there: SYNs to it are never answered
"""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.checks import tcp
from lab.mutants import faulty
from lab.process import Completed
from lab.running import Lab

PORT = 7000
NOBODY = "10.0.1.99"


def connect(lab: Lab, program: str, address: str, timeout_ms: int) -> Completed:
    arguments = ("--host", address, "--port", str(PORT), "--timeout-ms", str(timeout_ms))
    return lab["left"].run(lab.program(program), *arguments)


@contextmanager
def listening(lab: Lab) -> Iterator[None]:
    with lab["right"].socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((lab["right"].address(), PORT))
        listener.listen()
        yield


def let_nobody_be_known(lab: Lab) -> None:
    """Give the client a hardware address for it, or it would learn soon that there is nobody."""
    neighbour = ("ip", "neigh", "replace", NOBODY, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "permanent")
    lab["left"].run(*neighbour).check()


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.5")
@pytest.mark.mutant("it takes the end of the handshake for its success", faulty("connect_nonblocking", "NO_SO_ERROR"))
def test_a_handshake_that_is_over_may_have_failed(lab: Lab) -> None:
    """A refused connection makes the socket writable just as an accepted one does. SO_ERROR tells the difference."""
    address = lab["right"].address()
    with listening(lab):
        accepted = connect(lab, "connect_nonblocking", address, 10_000)
    refused = connect(lab, "connect_nonblocking", address, 10_000)

    assert (accepted.exit_code, refused.exit_code) == (0, 1)
    assert re.fullmatch(rf"connected to {address}:{PORT} from {lab['left'].address()}:\d+\n", accepted.stdout)
    assert refused.stderr == f"connect_nonblocking: connect {address}:{PORT}: Connection refused\n"


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.5")
@pytest.mark.mutant("it has no patience", faulty("connect_nonblocking", "NO_PATIENCE"))
def test_a_program_waits_for_a_connection_as_long_as_it_wants_to(lab: Lab) -> None:
    """The kernel would go on for minutes. poll(2) with a time-out gives up earlier, and closing the socket ends it."""
    let_nobody_be_known(lab)
    with lab["left"].capture() as capture:
        begin = time.monotonic()
        silent = connect(lab, "connect_nonblocking", NOBODY, 1000)
        took = time.monotonic() - begin
    assert silent.exit_code == 1
    assert silent.stderr == f"connect_nonblocking: connect {NOBODY}:{PORT}: Connection timed out\n"
    assert took >= 1
    assert capture.trace.where(tcp.is_syn)


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("11.1")
@pytest.mark.mutant("it takes microseconds for milliseconds", faulty("connect_timeout", "WRONG_UNIT"))
def test_the_limit_for_sending_is_one_for_connecting(lab: Lab) -> None:
    """connect(2) sends, so SO_SNDTIMEO limits it, to the kernel's next tick. A struct timeval counts microseconds."""
    let_nobody_be_known(lab)
    silent = connect(lab, "connect_timeout", NOBODY, 300)
    assert silent.exit_code == 1
    found = re.fullmatch(
        rf"connect_timeout: connect {NOBODY}:{PORT} after (\d+) ms: Connection timed out\n", silent.stderr
    )
    assert found and 300 <= int(found[1]) < 5000

    with listening(lab):
        accepted = connect(lab, "connect_timeout", lab["right"].address(), 10_000)
    assert accepted.exit_code == 0
    refused = connect(lab, "connect_timeout", lab["right"].address(), 10_000)
    assert refused.exit_code == 1 and "Connection refused" in refused.stderr
