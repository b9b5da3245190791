"""A connection to somebody who does not answer (the book's 3.3.3; RFC 6298 5).

No machine has the address that left asks for, and nothing on the way says so: as with a firewall that drops.
"""

import errno
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from lab.checks import tcp
from lab.mutants import command, sysctl
from lab.probes import tcp_pair
from lab.probes.tcp_pair import PORT
from lab.running import Lab
from lab.wait import wait_until

MISSING = "10.0.1.77"
RETRIES = "net.ipv4.tcp_syn_retries"
LINEAR = "net.ipv4.tcp_syn_linear_timeouts"
HAS_LINEAR = Path("/proc/sys", *LINEAR.split(".")).exists()

LATENESS = 1.3  # the kernel rounds long timers up, by as much as an eighth

BOOK = {LINEAR: 0} if HAS_LINEAR else {}
"""What lets the waits double from the first on, as they did before Linux 6.5."""

somebody_is_there = command("right", "ip", "addr", "add", f"{MISSING}/24", "dev", "eth0")
needs_linear = pytest.mark.skipif(not HAS_LINEAR, reason=f"this kernel has no {LINEAR}: every wait doubles")


@dataclass(frozen=True)
class Attempt:
    """One connect() to its end.

    Attributes:
        seconds: how long it took.
        waits: seconds between the SYNs.
    """

    error: int
    seconds: float
    syns: int
    waits: Sequence[float]

    def waits_about(self, *seconds: int) -> bool:
        """Whether these are the waits, none of them too short."""
        return len(self.waits) == len(seconds) and all(
            0.99 * expected <= wait < LATENESS * expected for wait, expected in zip(self.waits, seconds, strict=True)
        )


def strand(lab: Lab) -> None:
    """Let what left sends to MISSING reach right's interface; right has no such address and says nothing."""
    mac = lab["right"].interface().mac
    lab["left"].run("ip", "neigh", "replace", MISSING, "lladdr", mac, "dev", "eth0", "nud", "permanent").check()


def be_linear(lab: Lab) -> None:
    """Let the first waits of left be alike."""
    if not HAS_LINEAR:
        pytest.skip(f"this kernel has no {LINEAR}")
    lab["left"].sysctl(LINEAR, 4)


def attempt(lab: Lab, user_timeout: int = 0) -> Attempt:
    """Connect to MISSING; `user_timeout` is in milliseconds, and 0 is the kernel's own."""
    left = lab["left"]
    strand(lab)
    with left.socket(socket.AF_INET, socket.SOCK_STREAM) as channel, left.capture() as capture:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout)
        begun = time.monotonic()
        error = channel.connect_ex((MISSING, PORT))
        seconds = time.monotonic() - begun
    times = [packet.time_ns / 1e9 for packet in capture.trace.where(tcp.is_syn)]
    return Attempt(error, seconds, len(times), [later - earlier for earlier, later in pairwise(times)])


def timers(lab: Lab, count: int) -> list[int]:
    """The milliseconds for which a SYN, its first repeat and so on wait for an answer, from the socket table."""
    strand(lab)
    left, found = lab["left"], []
    with tcp_pair.bound(left) as channel:
        channel.setblocking(False)  # noqa: FBT003 - the socket module's own signature
        assert channel.connect_ex((MISSING, PORT)) == errno.EINPROGRESS
        for tries in range(count):
            await_syn(lab, tries)
            entry = tcp_pair.entry(left)
            assert entry
            assert (entry.state, entry.timer, entry.tries) == ("SYN_SENT", "retransmit", tries)
            found.append(entry.expires_ms)
    return found


def await_syn(lab: Lab, number: int) -> None:
    """Return once the first SYN was repeated so many times, or the attempt is over."""

    def is_sent() -> bool:
        entry = tcp_pair.entry(lab["left"])
        return entry is None or entry.tries >= number

    wait_until(is_sent, timeout=30, what=f"repeat {number} of the SYN")


def about(milliseconds: int, *, expected: int) -> bool:
    """Whether a timer that is read a moment after it was set was set to what is expected."""
    return 0.6 * expected < milliseconds < 1.1 * expected


@pytest.mark.book("3.3.3")
@pytest.mark.topology("two-hosts.yaml", sysctls={"left": BOOK})
@pytest.mark.mutant("the waits are alike", be_linear)
@pytest.mark.mutant("somebody is there", somebody_is_there)
def test_each_wait_for_an_answer_is_twice_as_long_as_the_one_before(lab: Lab) -> None:
    """A SYN that nobody answers is sent again after 1 s, then after 2 s, 4 s...: whoever is too busy is spared."""
    assert [about(timer, expected=1000 * 2**tries) for tries, timer in enumerate(timers(lab, 3))] == [True] * 3


@needs_linear
@pytest.mark.book("3.3.3")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("the book's kernel", sysctl("left", LINEAR, 0))
def test_today_the_first_waits_are_alike(lab: Lab) -> None:
    """Since Linux 6.5 the first four repeats follow a second apart, and only then do the waits double.

    A lost SYN is far more often an accident than a sign of congestion, and 4 more small packets do no harm.
    """
    assert [about(timer, expected=1000) for timer in timers(lab, 3)] == [True] * 3


@pytest.mark.book("3.3.3")
@pytest.mark.topology("two-hosts.yaml", sysctls={"left": {**BOOK, RETRIES: 1}})
@pytest.mark.mutant("somebody is there", somebody_is_there)
@pytest.mark.mutant("left is more patient", sysctl("left", RETRIES, 2))
def test_a_connect_fails_when_nobody_has_answered_the_last_repeat(lab: Lab) -> None:
    """With one repeat: SYN, 1 s, SYN, 2 s, ETIMEDOUT. The last wait is as long as if another SYN were to follow."""
    result = attempt(lab)

    assert (result.error, result.syns) == (errno.ETIMEDOUT, 2)
    assert 1.0 <= result.waits[0] < 1.9
    assert 3.0 <= result.seconds < 5.0


@pytest.mark.slow
@pytest.mark.book("3.3.3")
@pytest.mark.topology("two-hosts.yaml", sysctls={"left": {**BOOK, RETRIES: 5}})
@pytest.mark.mutant("somebody is there", somebody_is_there)
def test_the_books_connect_gives_up_after_63_seconds(lab: Lab) -> None:
    """Five repeats, as in the book: 1 + 2 + 4 + 8 + 16 + 32 seconds."""
    result = attempt(lab)

    assert result.error == errno.ETIMEDOUT
    assert result.waits_about(1, 2, 4, 8, 16)
    assert 63 <= result.seconds < 63 * LATENESS


@pytest.mark.slow
@needs_linear
@pytest.mark.book("3.3.3")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("somebody is there", somebody_is_there)
def test_todays_connect_gives_up_after_more_than_two_minutes(lab: Lab) -> None:
    """Four repeats a second apart come before the six of the default: eleven SYNs in 1 + 1 + 1 + 1 + 127 seconds."""
    result = attempt(lab)

    assert result.error == errno.ETIMEDOUT
    assert result.waits_about(1, 1, 1, 1, 1, 2, 4, 8, 16, 32)
    assert 131 <= result.seconds < 131 * LATENESS


@pytest.mark.book("3.3.3")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("somebody is there", somebody_is_there)
def test_a_program_can_stop_waiting_while_the_kernel_goes_on(lab: Lab) -> None:
    """SO_SNDTIMEO bounds the call, not the attempt: connect() says EINPROGRESS, and the kernel repeats its SYN."""
    left = lab["left"]
    strand(lab)
    with tcp_pair.bound(left) as channel:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 200_000))
        begun = time.monotonic()
        assert channel.connect_ex((MISSING, PORT)) == errno.EINPROGRESS
        assert 0.2 <= time.monotonic() - begun < 2.0
        await_syn(lab, 1)
        assert tcp_pair.state(left) == "SYN_SENT"


@pytest.mark.book("3.3.3")
@pytest.mark.topology("two-hosts.yaml", sysctls={"left": BOOK})
@pytest.mark.mutant("somebody is there", somebody_is_there)
def test_a_socket_may_bound_its_attempt_itself(lab: Lab) -> None:
    """TCP_USER_TIMEOUT ends the attempt with ETIMEDOUT however many repeats would be left."""
    result = attempt(lab, user_timeout=1500)

    assert (result.error, result.syns) == (errno.ETIMEDOUT, 2)
    assert 1.5 <= result.seconds < 2.9
