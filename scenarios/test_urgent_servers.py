"""Servers that are told of urgent data: by select(2)'s third set, and by a signal (book 9.1.3, 10.5.3).

left (sender) ── lan ── right (server)
"""

import re
import socket
import sys

import pytest

from lab.mutants import faulty
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true, wait_until

PORT = 7000
TOO_MANY = f"""
import resource, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
connections = [socket.create_connection((sys.argv[1], {PORT})) for _ in range(1040)]
connections[0].send(b"from the first")
connections[-1].settimeout(5)
sys.exit(len(connections[-1].recv(1)))
"""


def logged(server: Process, kind: str) -> str:
    """What the server says that it has received of this kind, in one piece: a stream may come in any pieces."""
    return "".join(re.findall(rf'^{kind} "(.*)"$', server.stderr, re.MULTILINE))


def tells_urgent_from_normal(lab: Lab, program: str) -> None:
    """Send an urgent byte in the middle of others, and see that the server takes it for what it is."""
    with lab["right"].deploy(program, port=PORT) as server, lab["left"].connect(lab["right"].address(), PORT) as sender:
        sender.send(b"123")
        wait_until(lambda: logged(server, "normal") == "123", timeout=10, what="the server to read the beginning")
        sender.send(b"abc", socket.MSG_OOB)
        sender.send(b"45")
        assert comes_true(lambda: logged(server, "normal") == "123ab45")
        assert comes_true(lambda: logged(server, "urgent") == "c")
        sender.send(b"d", socket.MSG_OOB)
        assert comes_true(lambda: logged(server, "urgent") == "cd")
        assert logged(server, "normal") == "123ab45"


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.1.3")
@pytest.mark.mutant("it reads urgent data as if it were normal", faulty("select_oob", "OOB_LOST"))
def test_urgent_data_is_an_exceptional_condition(lab: Lab) -> None:
    """select(2) has a set for it. Of what is sent with MSG_OOB only the last byte is urgent, the others are normal.

    The byte does not stand in the stream, and is asked for with MSG_OOB; reading on past its place would lose it.
    """
    tells_urgent_from_normal(lab, "select_oob")


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("10.5.3")
@pytest.mark.mutant("nobody owns the socket", faulty("signal_urg", "NO_OWNER"))
def test_urgent_data_raises_a_signal(lab: Lab) -> None:
    """The kernel sends SIGURG to the owner of the socket, whom F_SETOWN names; without one, to nobody."""
    tells_urgent_from_normal(lab, "signal_urg")


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.1.3")
@pytest.mark.mutant("it takes them all", faulty("select_oob", "OVERFLOW"))
def test_select_has_no_room_for_descriptors_beyond_its_set(lab: Lab) -> None:
    """An fd_set has 1024 bits, and FD_SET of descriptor 1024 writes behind them, without a word.

    A server with more connections has to refuse them; this one closes them at once, and serves those before.
    """
    program = ("prlimit", "--nofile=1100:1100", lab.program("select_oob"), "--port", str(PORT))
    with lab["right"].start(*program) as server:
        lab["right"].wait_listening(PORT, server)
        clients = lab["left"].run(sys.executable, "-c", TOO_MANY, lab["right"].address())
        assert clients.exit_code == 0, clients.stderr
        assert comes_true(lambda: logged(server, "normal") == "from the first")
        assert "select(2) has no room for descriptor 1024" in server.stderr
