"""How much may be on its way: congestion windows (the book's 3.10; RFC 5681, RFC 6675, RFC 8985, RFC 9438).

left or sender1 (client) sends to right or receiver1 (server); both programs are the test itself. Most scenarios go
window by window: no ACK comes back before all that may be sent is on its way, so that what the kernel makes of the
ACKs depends on nothing else, however fast or slow the machine is.
"""

import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import pytest

from lab.checks import tcp as segments
from lab.link.instrument import Link
from lab.mutants import Sabotage, sysctl
from lab.probes import tcp, tcp_pair
from lab.probes.sampler import Sampler
from lab.process import Completed
from lab.running import Lab
from lab.wait import comes_true

ALGORITHMS = ("reno", "cubic", "bbr")
NONE_YET = 0x7FFFFFFF  # the slow-start threshold of a connection that has lost nothing
FRAME = 1514  # bytes of a full segment on the wire
ROOM_IN_QUEUE = 45_000 // FRAME  # segments that wait before the bottleneck of dumbbell.yaml
PORT_BEFORE = tcp_pair.PORT + 1
SACK = "net.ipv4.tcp_sack"

# Buffers are no limit here, and no probe is sent for a lost tail.
ROOM: dict[str, dict[str, str | int]] = {
    "left": {
        "net.ipv4.tcp_early_retrans": 0,
        "net.ipv4.tcp_frto": 0,
        "net.ipv4.tcp_wmem": "4096 2000000 4000000",
    },
    "right": {"net.ipv4.tcp_rmem": "4096 2000000 6000000"},
}


def always(node: str, algorithm: str) -> Sabotage:
    """Return what lets a node have this congestion control whenever it is told to have one."""

    def sabotage(lab: Lab) -> None:
        run = lab[node].run

        def run_otherwise(*arguments: str) -> Completed:
            return run(*(algorithm if word in ALGORITHMS else word for word in arguments))

        lab[node].run = run_otherwise  # type: ignore[method-assign, assignment]

    return sabotage


def without_losses(lab: Lab) -> None:
    """The wire loses nothing, whatever it is told."""
    lab["left"].link().drop = lambda *_, **__: None  # type: ignore[method-assign, assignment]


def short_queue(lab: Lab) -> None:
    lab["router1"].impair("bottleneck", rate="10mbit", queue="10kB", delay="10ms")


@dataclass(frozen=True)
class Transfer:
    """A connection whose client has much to send.

    Attributes:
        link: left's wire.
        sampler: of the client.
    """

    client: socket.socket
    server: socket.socket
    link: Link
    sampler: Sampler

    def send_window(self) -> int:
        """Let as many segments be acknowledged as may be on their way, all of them at once; return their number."""
        acks = self.link.hold(direction="in")
        before = self.sampler.sample()
        amount = before.cwnd * before.snd_mss
        self.client.sendall(bytes(amount))
        assert comes_true(lambda: self.sampler.sample().unacked == before.cwnd)
        acks.cancel()
        assert len(tcp.read_exactly(self.server, amount)) == amount
        assert comes_true(lambda: self.sampler.sample().unacked == 0)
        return before.cwnd


def choose(lab: Lab, node: str, way: Sequence[str], algorithm: str, *metrics: str) -> None:
    """Let a route's connections have this congestion control, or skip the scenario."""
    done = lab[node].run("ip", "route", "replace", *way, "congctl", algorithm, *metrics)
    if "congestion" in done.stderr:
        pytest.skip(f"this kernel has no {algorithm}: {done.stderr.strip()}")
    done.check()


@contextmanager
def transfer(lab: Lab, *metrics: str, algorithm: str = "reno", port: int = tcp_pair.PORT) -> Iterator[Transfer]:
    """A connection by left's wire, which loses nothing by time-outs unless the metrics say so.

    Args:
        metrics: what left knows of the way (ip-route(8)).
    """
    left = lab["left"]
    patience = () if "rto_min" in metrics else ("rto_min", "10s")
    choose(lab, "left", ("10.0.1.0/24", "dev", "eth0"), algorithm, *patience, *metrics)
    link = left.link()
    client, server = tcp_pair.connect(left, lab["right"], port)
    with client, server:
        sampler = Sampler(client)
        lab.notes["left.csv"] = sampler.csv
        yield Transfer(client, server, link, sampler)


@pytest.mark.topology("two-hosts-wire.yaml", sysctls=ROOM)
@pytest.mark.book("3.10")
@pytest.mark.mutant("the receiver has no room", sysctl("right", "net.ipv4.tcp_rmem", "4096 8192 8192"))
def test_slow_start_doubles_the_window_with_each_round_trip(lab: Lab) -> None:
    """Each segment that is acknowledged lets two more go: slow is only the beginning, with ten (RFC 6928).

    The book's kernel began with fewer. The end comes with the first loss.
    """
    with transfer(lab) as connection:
        assert [connection.send_window() for _ in range(4)] == [10, 20, 40, 80]
        assert connection.sampler.sample().ssthresh == NONE_YET


REMEMBERED = {**ROOM, "left": {**ROOM["left"], "net.ipv4.tcp_no_ssthresh_metrics_save": 0}}


@pytest.mark.topology("two-hosts-wire.yaml", sysctls=REMEMBERED)
@pytest.mark.book("3.10")
@pytest.mark.mutant("no threshold is remembered", sysctl("left", "net.ipv4.tcp_no_metrics_save", 1))
def test_above_the_threshold_a_round_trip_adds_one_segment(lab: Lab) -> None:
    """Congestion avoidance: from ssthresh on, each acknowledged segment widens the window by 1/cwnd of a segment.

    Here the route gives the threshold. The kernel looks at that once it has an earlier connection to remember.
    """
    way = ("initcwnd", "2", "ssthresh", "lock", "16")
    with transfer(lab, *way, port=PORT_BEFORE):
        pass
    assert comes_true(lambda: tcp_pair.state(lab["left"], PORT_BEFORE) in {"TIME_WAIT", tcp_pair.CLOSED})
    with transfer(lab, *way) as connection:
        assert [connection.send_window() for _ in range(7)] == [2, 4, 8, 16, 17, 18, 19]


@pytest.mark.topology("two-hosts-wire.yaml", sysctls=ROOM)
@pytest.mark.book("3.10")
@pytest.mark.mutant("it is cubic", always("left", "cubic"))
def test_after_a_time_out_slow_start_begins_again_with_one_segment(lab: Lab) -> None:
    """Nothing came back: the network is taken for so busy that the window is one segment, and the threshold half.

    Up to that threshold the window doubles as at the beginning, and above it grows by one.
    """
    with transfer(lab, "rto_min", "500ms", "initcwnd", "40") as connection:
        sampler = connection.sampler
        lost = connection.link.drop(segments.has_data, direction="out")
        amount = 40 * sampler.sample().snd_mss
        connection.client.sendall(bytes(amount))
        assert comes_true(lambda: sampler.sample().congestion == "loss")
        timed_out = sampler.sample()
        assert (timed_out.cwnd, timed_out.ssthresh, timed_out.lost) == (1, 20, 40)

        lost.cancel()
        assert len(tcp.read_exactly(connection.server, amount)) == amount
        assert comes_true(lambda: sampler.sample().unacked == 0)
        assert sampler.sample().ssthresh == 20
        # Of the 40 that were sent again, 19 brought the window to the threshold, and the others one further.
        assert [connection.send_window() for _ in range(4)] == [21, 22, 23, 24]


# Only an ACK with the same window as before counts as a duplicate, so the receiver's does not grow here.
WITHOUT_SACK: dict[str, dict[str, str | int]] = {
    "left": {**ROOM["left"], SACK: 0},
    "right": {"net.ipv4.tcp_rmem": "4096 131072 131072"},
}


@contextmanager
def first_lost(lab: Lab) -> Iterator[Transfer]:
    """A connection that has lost a segment after its first window; what follows is sent a segment at a time."""
    with transfer(lab) as connection:
        connection.send_window()
        send_one(connection)
        assert comes_true(lambda: connection.sampler.sample().unacked == 0)
        connection.link.drop(segments.has_data, nth=1, direction="out")
        send_one(connection)
        yield connection


def send_one(connection: Transfer) -> None:
    connection.client.sendall(bytes(connection.sampler.sample().snd_mss))


@pytest.mark.topology("two-hosts-wire.yaml", sysctls=WITHOUT_SACK)
@pytest.mark.book("3.10")
@pytest.mark.mutant("it takes more of them", sysctl("left", "net.ipv4.tcp_reordering", 5))
@pytest.mark.mutant("they say what has come", sysctl("left", SACK, 1))
def test_three_duplicate_acks_stand_for_a_lost_segment(lab: Lab) -> None:
    """Fast retransmit: what arrives behind a gap is answered by the ACK of before; the third such ACK is believed.

    One or two could mean that segments have overtaken each other. The window is halved, and nobody waits for a timer.
    """
    left = lab["left"]
    before = left.counters()
    with first_lost(lab) as connection:
        sampler = connection.sampler
        for duplicates in (1, 2):
            send_one(connection)
            assert comes_true(lambda: sampler.sample().sacked == duplicates)  # noqa: B023 - it is asked at once
            assert sampler.sample().total_retrans == 0
        send_one(connection)
        assert comes_true(lambda: sampler.sample().total_retrans == 1)
        assert sampler.values("ssthresh") == [NONE_YET, 10]
    after = left.counters()
    assert after["TcpExtTCPRenoRecovery"] - before["TcpExtTCPRenoRecovery"] == 1
    assert after["TcpExtTCPTimeouts"] == before["TcpExtTCPTimeouts"]


@pytest.mark.topology("two-hosts-wire.yaml", sysctls=ROOM)
@pytest.mark.book("3.10")
@pytest.mark.mutant("nobody says what has come", sysctl("left", SACK, 0))
def test_today_one_selective_ack_is_enough(lab: Lab) -> None:
    """With SACK the ACK names what has come behind the gap. What was sent later has arrived: the earlier is lost.

    How much later is a matter of time, not of a count (RACK): a quarter of a round trip is left for overtaking.
    """
    with first_lost(lab) as connection:
        sampler = connection.sampler
        send_one(connection)
        assert comes_true(lambda: sampler.sample().total_retrans == 1)
        assert sampler.values("ssthresh") == [NONE_YET, 10]


@pytest.mark.topology("two-hosts-wire.yaml", sysctls=ROOM)
@pytest.mark.book("3.10")
@pytest.mark.mutant("it is cubic", always("left", "cubic"))
def test_fast_recovery_goes_on_with_half_the_window(lab: Lab) -> None:
    """ACKs still come, so segments still leave the network: it is not as busy as to begin with one segment again.

    While the lost one is sent again, new ones go out too, one for each two that have arrived. Then the window is half
    of what it was, and grows by a segment with each round trip.
    """
    with transfer(lab, "initcwnd", "20") as connection:
        sampler, link, size = connection.sampler, connection.link, connection.sampler.sample().snd_mss
        acks = link.hold(direction="in")
        link.drop(segments.has_data, nth=1, direction="out")
        connection.client.sendall(bytes(40 * size))
        assert comes_true(lambda: sampler.sample().unacked == 20)
        link.hold(segments.has_data, direction="out")
        acks.cancel()
        assert comes_true(lambda: sampler.sample().sacked == 19)
        now = sampler.sample()
        assert (now.congestion, now.ssthresh, now.total_retrans) == ("recovery", 10, 1)
        assert (now.cwnd, now.in_flight) == (10, 10)

        link.release()
        assert len(tcp.read_exactly(connection.server, 40 * size)) == 40 * size
        assert comes_true(lambda: sampler.sample().unacked == 0)
        first = connection.send_window()
        assert 10 <= first <= 13
        assert [connection.send_window() for _ in range(3)] == [first + 1, first + 2, first + 3]


@pytest.mark.parametrize(("algorithm", "threshold"), [("reno", 10), ("cubic", 14), ("bbr", NONE_YET)])
@pytest.mark.topology("two-hosts-wire.yaml", sysctls=ROOM)
@pytest.mark.book("3.10")
@pytest.mark.mutant("nothing is lost", without_losses)
def test_what_a_loss_means_is_for_the_algorithm_to_say(lab: Lab, algorithm: str, threshold: int) -> None:
    """Of a window of 20, reno leaves the half and cubic 7/10. bbr goes by rates and delays: a loss means nothing.

    The book has reno. Today's default is cubic.
    """
    with transfer(lab, "initcwnd", "20", algorithm=algorithm) as connection:
        connection.link.drop(segments.has_data, nth=1, direction="out")
        connection.send_window()
        after = connection.sampler.sample()
        assert (after.total_retrans, after.ssthresh) == (1, threshold)


@contextmanager
def through_the_bottleneck(lab: Lab, algorithm: str) -> Iterator[tuple[socket.socket, socket.socket, Sampler]]:
    """A connection from sender1 to receiver1, and what sender1's kernel tells of it."""
    choose(lab, "sender1", ("10.0.3.0/24", "via", lab["router1"].address("left")), algorithm)
    client, server = tcp_pair.connect(lab["sender1"], lab["receiver1"])
    with client, server:
        sampler = Sampler(client)
        lab.notes["sender1.csv"] = sampler.csv
        yield client, server, sampler


def carry(client: socket.socket, server: socket.socket, sampler: Sampler, is_enough: Callable[[int], bool]) -> bool:
    """Send until what was received is enough, with a sample whenever something was; return whether it ever is."""
    for end in (client, server):
        end.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    received = 0
    deadline = time.monotonic() + 30
    while not is_enough(received) and time.monotonic() < deadline:
        readable, writable, _ = select.select([server], [client], [], 1)
        if writable:
            client.send(bytes(1 << 16))
        if readable:
            received += len(server.recv(1 << 20))
        sampler.sample()
    return is_enough(received)


@dataclass(frozen=True)
class Reduction:
    """What a congestion control made of a loss once slow start was over.

    Attributes:
        cwnd: before.
        ssthresh: after.
    """

    cwnd: int
    ssthresh: int


def reductions(sampler: Sampler) -> list[Reduction]:
    return [
        Reduction(before.info.cwnd, after.info.ssthresh)
        for before, after in pairwise(sampler.samples)
        if before.info.congestion in {"open", "disorder"}
        and after.info.congestion in {"recovery", "loss"}
        and before.info.ssthresh != NONE_YET
    ]


def second_reduction(lab: Lab, algorithm: str) -> Reduction:
    with through_the_bottleneck(lab, algorithm) as (client, server, sampler):
        assert carry(client, server, sampler, lambda _received: len(reductions(sampler)) >= 2)
        return reductions(sampler)[1]


@pytest.mark.topology("dumbbell.yaml")
@pytest.mark.book("3.10")
@pytest.mark.mutant("it is cubic", always("sender1", "cubic"))
@pytest.mark.mutant("the queue is short", short_queue)
def test_at_a_bottleneck_reno_halves_its_window_whenever_the_queue_is_full(lab: Lab) -> None:
    """The saw of the book: up by a segment for each round trip until one is lost, down to the half, up again.

    What is not under way on the link waits in the queue before it, so each tooth ends when there is no more room.
    """
    tooth = second_reduction(lab, "reno")
    assert tooth.cwnd > ROOM_IN_QUEUE
    assert 0.45 < tooth.ssthresh / tooth.cwnd < 0.55


@pytest.mark.topology("dumbbell.yaml")
@pytest.mark.book("3.10")
@pytest.mark.mutant("it is reno", always("sender1", "reno"))
@pytest.mark.mutant("the queue is short", short_queue)
def test_at_a_bottleneck_cubic_gives_less_away(lab: Lab) -> None:
    """Today's default keeps 7/10 of its window, and comes back to where it lost something along a cubic curve."""
    tooth = second_reduction(lab, "cubic")
    assert tooth.cwnd > ROOM_IN_QUEUE
    assert 0.65 < tooth.ssthresh / tooth.cwnd < 0.75


@pytest.mark.topology("dumbbell.yaml")
@pytest.mark.book("3.10")
@pytest.mark.mutant("it is reno", always("sender1", "reno"))
def test_at_a_bottleneck_bbr_leaves_a_long_queue_nearly_empty(lab: Lab) -> None:
    """Reno fills any queue, since only a loss tells it to stop. bbr measures how much the link carries, and how fast.

    It has no more on its way than a few times what that makes, so others do not wait behind a full queue.
    """
    lab["router1"].impair("bottleneck", rate="10mbit", queue="200kB", delay="10ms")
    with through_the_bottleneck(lab, "bbr") as (client, server, sampler):
        assert carry(client, server, sampler, lambda received: received > 3_000_000)
        assert max(sampler.values("in_flight")) < 200_000 // FRAME
