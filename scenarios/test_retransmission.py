"""Nobody acknowledges: what is sent again, when, and for how long (the book's 3.9; RFC 6298, RFC 8985).

left (client) ── wire or lan ── right (server); both programs are the test itself.
"""

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from lab.checks import arp
from lab.checks import tcp as segments
from lab.mutants import sysctl
from lab.probes import tcp, tcp_pair
from lab.probes.sampler import Sampler
from lab.running import Lab
from lab.trace.packet import Packet
from lab.wait import comes_true

FULL = 1448  # bytes of a full segment, with timestamps
RETRIES = "net.ipv4.tcp_retries2"
PROBES = "net.ipv4.tcp_early_retrans"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def route(*metrics: str) -> tuple[str, ...]:
    """The command that tells left what to know of the way to right."""
    return ("ip", "route", "replace", "10.0.1.0/24", "dev", "eth0", *metrics)


@contextmanager
def connected(lab: Lab) -> Iterator[tuple[socket.socket, socket.socket, Sampler]]:
    """The two ends of a connection, and what the client's kernel tells of it."""
    client, server = tcp_pair.connect(lab["left"], lab["right"])
    with client, server:
        sampler = Sampler(client)
        lab.notes["left.csv"] = sampler.csv
        yield client, server, sampler


@pytest.mark.topology("two-hosts-wire.yaml", sysctls={"left": {PROBES: 0}})
@pytest.mark.book("3.9")
@pytest.mark.mutant("thin streams do not wait longer", sysctl("left", "net.ipv4.tcp_thin_linear_timeouts", 1))
def test_each_wait_before_a_segment_is_sent_again_is_twice_as_long(lab: Lab) -> None:
    """The first wait is the time-out that the measured round trips suggest, at least 200 ms in Linux.

    From then on it doubles (RFC 6298, 5.5): too few ACKs may mean too many packets. Once something is acknowledged,
    the time-out is what the round trips suggest again.
    """
    lost = lab["left"].link().drop(segments.has_data, direction="out")
    with connected(lab) as (client, server, sampler), lab["left"].capture() as capture:
        first = sampler.sample().rto
        client.send(b"x")
        assert comes_true(lambda: sampler.sample().backoff == 3)
        assert all(sample.info.rto == first << sample.info.backoff for sample in sampler.samples)
        lost.cancel()
        assert tcp.read_exactly(server, 1) == b"x"
        assert comes_true(lambda: sampler.sample().unacked == 0)
        assert sampler.sample().rto < 2 * first

    sent = capture.trace.where(segments.has_data)
    assert len({packet.tcp.seq for packet in sent if packet.tcp}) == 1
    waits = [(later.time_ns - earlier.time_ns) / 1000 for earlier, later in pairwise(sent)]
    assert len(waits) == 4
    expected = [first << doubled for doubled in range(4)]
    assert [0.98 * least < wait < 1.9 * least for wait, least in zip(waits, expected, strict=True)] == [True] * 4


@pytest.mark.topology("two-hosts-wire.yaml")
@pytest.mark.book("3.9")
@pytest.mark.mutant("no probes are sent", sysctl("left", PROBES, 0))
def test_today_a_lost_tail_is_probed_for_before_the_time_out(lab: Lab) -> None:
    """What comes last has nothing behind it that would show its loss, so the book's kernel has to wait.

    Today the last segment is sent again after some two round trips already (RFC 8985, section 7): no time-out, and no
    window of one segment. ACKs are on their way meanwhile: a lone segment is given as much more as a receiver may
    delay its ACK.
    """
    left = lab["left"]
    left.run(*route("rto_min", "3s")).check()
    with connected(lab) as (client, server, sampler), left.capture() as capture:
        before = left.counters()
        left.link().drop(segments.has_data, nth=4, direction="out")
        acks = left.link().hold(direction="in")
        client.sendall(bytes(4 * FULL))
        assert comes_true(lambda: sampler.sample().total_retrans == 1)
        acks.cancel()
        assert len(tcp.read_exactly(server, 4 * FULL)) == 4 * FULL
        assert comes_true(lambda: sampler.sample().unacked == 0)
        after = left.counters()

    numbers = [packet.tcp.seq for packet in capture.trace.where(segments.has_data) if packet.tcp]
    assert [(number - numbers[0]) % 2**32 // FULL for number in numbers] == [0, 1, 2, 3, 3]
    assert after["TcpExtTCPLossProbes"] - before["TcpExtTCPLossProbes"] == 1
    assert after["TcpExtTCPTimeouts"] == before["TcpExtTCPTimeouts"]


def repeats_until_given_up(lab: Lab, shortest_wait: str) -> tuple[int, float]:
    """How often left sends a segment again until it gives the connection up, and after how many seconds it does."""
    left = lab["left"]
    left.run(*route("rto_min", shortest_wait)).check()
    lost = left.link().drop(segments.has_data, direction="out")
    with connected(lab) as (client, _server, sampler):
        begun = time.monotonic()
        client.send(b"x")
        assert comes_true(lambda: sampler.sample().state == "CLOSE")
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ETIMEDOUT
        return lost.done - 1, time.monotonic() - begun


@pytest.mark.topology("two-hosts-wire.yaml", sysctls={"left": {PROBES: 0, RETRIES: 2}})
@pytest.mark.book("3.9")
@pytest.mark.mutant("one retry is allowed", sysctl("left", RETRIES, 1))
def test_tcp_retries2_stands_for_a_time_where_there_are_more_retries(lab: Lab) -> None:
    """The book counts retries; the kernel counts the time that so many would take if the first wait were 200 ms.

    Two retries: 200 + 400 + 800 ms, from the first one on. Where the waits begin with 20 ms there are more of them in
    that time. The default of 15 stands for a quarter of an hour.
    """
    repeats, seconds = repeats_until_given_up(lab, "20ms")
    assert repeats > 2
    assert seconds >= 1.4


@pytest.mark.topology("two-hosts-wire.yaml", sysctls={"left": {PROBES: 0, RETRIES: 2}})
@pytest.mark.book("3.9")
@pytest.mark.mutant("four retries are allowed", sysctl("left", RETRIES, 4))
def test_tcp_retries2_stands_for_a_time_where_there_are_fewer_retries(lab: Lab) -> None:
    """Where the first wait is a second, the time of two retries is over when the second one would be due."""
    repeats, _seconds = repeats_until_given_up(lab, "1s")
    assert repeats == 1


def know_right_for_good(lab: Lab) -> None:
    """Let left never ask again for right's hardware address."""
    right = lab["right"]
    entry = (right.address(), "lladdr", right.interface().mac, "dev", "eth0")
    lab["left"].run("ip", "neigh", "replace", *entry, "nud", "permanent").check()


def question(packet: Packet) -> str:
    """How an ARP request was sent."""
    return "broadcast" if packet.eth and packet.eth.dst == BROADCAST else "unicast"


@pytest.mark.topology(
    "two-hosts.yaml",
    sysctls={
        "left": {
            PROBES: 0,
            RETRIES: 2,
            "net.ipv4.neigh.eth0.base_reachable_time_ms": 100,
            "net.ipv4.neigh.eth0.delay_first_probe_time": 0,
            "net.ipv4.neigh.eth0.retrans_time_ms": 100,
        }
    },
)
@pytest.mark.book("3.9")
@pytest.mark.mutant("left does not ask", know_right_for_good)
def test_a_neighbour_that_does_not_acknowledge_is_looked_for_by_arp(lab: Lab) -> None:
    """Below TCP somebody else begins to doubt: no ACK says any longer that the neighbour is at its address.

    The kernel asks that address three times, and then everybody three times. When nobody answers, the host is
    unreachable: what the program is told in the end is EHOSTUNREACH, not ETIMEDOUT. By itself the kernel takes some
    ten seconds more for it; here it is made to doubt and to ask faster.
    """
    with connected(lab) as (client, _server, sampler), lab["left"].capture() as capture:
        lab.cut("right")
        client.send(b"x")
        assert comes_true(lambda: sampler.sample().state == "CLOSE")
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EHOSTUNREACH

    trace = capture.trace
    asked = [question(packet) for packet in trace.where(arp.is_request)]
    assert asked[:6] == ["unicast"] * 3 + ["broadcast"] * 3
    assert trace.first(segments.has_data).time_ns < trace.first(arp.is_request).time_ns
