"""What TCP and its users see of a network that breaks (the book's 3.5.3 and 3.9): mostly, for a long time, nothing.

Five hosts on one segment; the trace says where the network was broken and mended (`-- cut a b`).
"""

import errno
import select
import signal
import socket
import sys
from collections.abc import Callable
from itertools import pairwise

import pytest

from lab.checks import arp, tcp
from lab.mutants import sysctl
from lab.node import Node
from lab.running import Lab
from lab.trace.trace import Trace
from lab.wait import wait_until

PORT = 7000
ONE_CONNECTION = f"import socket; socket.create_server(('', {PORT})).accept()[0].recv(1)"
_RETRANSMITS = 2  # the byte of struct tcp_info (linux/tcp.h)


def nothing(*_targets: object, **_options: object) -> None:
    """Stands for a fault that does not happen."""


def without(name: str) -> Callable[[Lab], None]:
    """A lab in which this fault never happens."""
    return lambda lab: setattr(lab, name, nothing)


def immortal(lab: Lab) -> None:
    """Node b cannot be killed."""
    lab["b"].kill = nothing  # type: ignore[method-assign]


def connect(client: Node, server: Node) -> tuple[socket.socket, socket.socket]:
    """A connection between sockets of the two nodes: (client's, server's)."""
    with server.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((server.address(), PORT))
        listener.listen()
        ours = client.socket(socket.AF_INET, socket.SOCK_STREAM)
        ours.connect(listener.getsockname())
        theirs, _address = listener.accept()
        return ours, theirs


def retransmits(channel: socket.socket) -> int:
    """How often the segment that waits for its acknowledgement was sent again."""
    return channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[_RETRANSMITS]


def has_arrived(channel: socket.socket) -> bool:
    return bool(select.select([channel], [], [], 0)[0])


def from_b(lab: Lab, trace: Trace) -> Trace:
    """What of b's was received."""
    mac = lab["b"].interface().mac
    return trace.where(lambda packet: packet.eth is not None and packet.eth.src == mac)


@pytest.mark.book("3.9")
@pytest.mark.topology("lan.yaml", sysctls={"a": {"net.ipv4.tcp_early_retrans": 0}})
@pytest.mark.mutant("the cable is whole", without("cut"))
@pytest.mark.mutant("a loses no patience", sysctl("a", "net.ipv4.tcp_thin_linear_timeouts", 1))
def test_a_connection_outlives_a_broken_cable(lab: Lab) -> None:
    """What was sent meanwhile arrives when the cable is whole again, and nobody but the two kernels ever knew.

    Each pause before the segment is sent again is twice as long as the one before (RFC 6298 5.5): the network may
    be busy rather than broken. The price is that the connection sleeps on for up to as long as it was broken.
    """
    a, b = lab["a"], lab["b"]
    ours, theirs = connect(a, b)
    with ours, theirs, a.capture() as capture:
        lab.cut("a", "b")
        ours.send(b"are you there?")
        wait_until(lambda: retransmits(ours) == 2 or has_arrived(theirs), timeout=10, what="two retransmissions")
        assert not has_arrived(theirs)
        lab.restore()
        wait_until(lambda: has_arrived(theirs), timeout=10, what="what was sent")
        assert theirs.recv(100) == b"are you there?"

    sent = capture.trace.where(tcp.has_data, lambda packet: packet.direction == "out")
    assert len(sent) == 4
    assert len({packet.tcp.seq for packet in sent if packet.tcp}) == 1
    pauses = [(later.time_ns - earlier.time_ns) / 1e9 for earlier, later in pairwise(sent)]
    assert all(1.7 < later / earlier < 2.4 for earlier, later in pairwise(pauses))
    cut, restored = capture.trace.marks
    assert cut.time_ns < sent[0].time_ns and sent[2].time_ns < restored.time_ns < sent[3].time_ns


@pytest.mark.topology("lan.yaml")
@pytest.mark.mutant("the plug stays in", without("cut"))
def test_a_host_sends_into_a_broken_cable_and_not_into_an_empty_socket(lab: Lab) -> None:
    """A cable that breaks inside keeps its light on: the host goes on asking. With the plug pulled it does not try."""
    a, b = lab["a"], lab["b"]

    def questions() -> int:
        with a.capture() as capture:
            assert a.ping(b.address(), timeout=0.1).received == 0
        return len(capture.trace.where(arp.is_request))

    lab.cut("a")
    assert questions() > 0
    lab.restore()
    a.run("ip", "neigh", "flush", "all").check()
    lab.cut("a", carrier=True)
    assert questions() == 0


@pytest.mark.topology("lan.yaml")
@pytest.mark.mutant("nothing is parted", without("partition"))
def test_both_sides_of_a_partition_go_on_without_each_other(lab: Lab) -> None:
    """Each host reaches those on its side and takes the others for dead: neither side is wrong."""
    lab.partition(["a", "b", "c"], ["d", "e"])

    for one, other in (("a", "b"), ("c", "a"), ("d", "e")):
        assert lab[one].ping(lab[other].address(), timeout=5).received == 1
    for one, other in (("a", "d"), ("d", "a"), ("b", "e")):
        assert lab[one].ping(lab[other].address(), timeout=0.2).received == 0


@pytest.mark.book("3.5.3")
@pytest.mark.topology("lan.yaml")
@pytest.mark.mutant("b keeps its power", immortal)
def test_a_host_that_lost_its_power_knows_nothing_of_its_connections(lab: Lab) -> None:
    """The connection is half-open: one end has forgotten it. The other learns that by the reset to its next segment.

    The first write succeeds, for it only hands the bytes to the kernel; the one after it fails.
    """
    a, b = lab["a"], lab["b"]
    ours, theirs = connect(a, b)
    with ours, theirs, a.capture() as capture:
        b.kill()
        b.boot()
        assert ours.send(b"are you there?") > 0
        assert a.ping(b.address(), timeout=5).received == 1  # the reset came before

        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
        with pytest.raises(BrokenPipeError):
            ours.send(b"hello?")

    answers = from_b(lab, capture.trace).where(lambda packet: packet.tcp is not None)
    assert [tcp.is_reset(packet) for packet in answers] == [True]


@pytest.mark.book("3.5.3")
@pytest.mark.topology("lan.yaml")
@pytest.mark.mutant("the program is killed, and not its host", lambda lab: setattr(lab["b"], "kill", lambda: end(lab)))
def test_a_host_that_loses_its_power_does_not_say_goodbye(lab: Lab) -> None:
    """A killed program is seen off by its kernel, which sends the FIN. When the host itself dies there is nobody to.

    Its peer waits, for as long as it has nothing to send, for ever.
    """
    a, b = lab["a"], lab["b"]
    b.start(sys.executable, "-c", ONE_CONNECTION)
    ours = a.socket(socket.AF_INET, socket.SOCK_STREAM)
    wait_until(lambda: ours.connect_ex((b.address(), PORT)) in (0, errno.EISCONN), timeout=10, what="the server")
    with ours, a.capture() as capture:
        b.kill()
        assert a.ping(b.address(), timeout=0.1).received == 0 or has_arrived(ours)
        assert not has_arrived(ours)

    assert not from_b(lab, capture.trace).where(tcp.is_fin)


def end(lab: Lab) -> None:
    """Kill what runs in b."""
    for process in lab.processes:
        process.signal(signal.SIGKILL)
        process.wait()
