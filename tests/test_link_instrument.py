"""A programmable wire in a running lab: what a test does with it, and what becomes of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.backends.netns.client import NetnsBackend
from lab.capture import Capture
from lab.checks import tcp
from lab.errors import UsageError
from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.trace.packet import Packet
from lab.wait import wait_until
from tests.link_labs import PORT, pair, wait_for_the_last

SOON = 10.0  # seconds
BRIEFLY = 0.2


@pytest.fixture
def wired(labs: Labs) -> Iterator[Lab]:
    with pair(labs, "wire: true") as lab:
        assert lab["a"].ping(lab["b"].address(), timeout=SOON).received == 1  # addresses are known
        yield lab


def is_request(packet: Packet) -> bool:
    return packet.icmp is not None and packet.icmp.type == 8


def is_udp(packet: Packet) -> bool:
    return packet.udp is not None


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def said(lab: Lab, texts: list[bytes]) -> list[bytes]:
    """Send datagrams from a to b, with what the test has ordered in between, and return them as they arrive."""
    a, b = lab["a"], lab["b"]
    with (
        a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        b.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("", PORT))
        for text in texts:
            sender.sendto(text, (b.address(), PORT))
        wait_for_the_last(lab)
        receiver.settimeout(0)
        found = []
        while True:
            try:
                found.append(receiver.recv(100))
            except BlockingIOError:
                return found


def exchange(lab: Lab) -> Capture:
    """Carry 200 kB over TCP from a to b, and return what both wires have seen of it."""
    a, b = lab["a"], lab["b"]
    with lab.capture("a:eth0", "b:eth0") as capture, b.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("", PORT))
        server.listen()
        with a.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(SOON)
            client.connect((b.address(), PORT))
            accepted, _address = server.accept()
            with accepted:
                sending = threading.Thread(target=client.sendall, args=(bytes(200_000),))
                sending.start()
                received = 0
                while received < 200_000:
                    received += len(accepted.recv(65536))
                sending.join()
    assert received == 200_000
    return capture


def test_the_second_ping_is_dropped_and_no_other(wired: Lab) -> None:
    order = wired["a"].link("lan").drop(is_request, nth=2)
    echoes = wired["a"].ping(wired["b"].address(), count=3, timeout=BRIEFLY).echoes
    assert [echo.round_trip is not None for echo in echoes] == [True, False, True]
    assert order.done == 1
    (entry,) = wired["a"].link().log
    assert (entry.action, entry.rule, entry.direction) == ("drop", "drop(is_request, nth=2)", "out")
    assert entry.packet.ip
    assert entry.packet.ip.dst == wired["b"].address()


def test_a_dropped_syn_is_sent_again(wired: Lab) -> None:
    wired["a"].link().drop(tcp.is_syn, nth=1, direction="out")
    capture = exchange(wired)
    assert len(capture.trace.on("a").where(tcp.is_syn)) == 2
    assert len(capture.trace.on("b").where(tcp.is_syn)) == 1


def test_held_datagrams_arrive_in_order_after_their_release(wired: Lab) -> None:
    link = wired["a"].link()
    link.hold(is_udp, nth={1, 2})
    assert said(wired, [b"1", b"2", b"3"]) == [b"3"]
    with wired["b"].capture("eth0") as capture:
        link.release()
        wait_for_the_last(wired)
    assert [packet.payload for packet in capture.trace.where(is_udp)] == [b"1", b"2"]


def test_reordered_duplicated_and_corrupted_datagrams(wired: Lab) -> None:
    link = wired["a"].link()
    link.reorder(is_udp, nth=1)
    assert said(wired, [b"1", b"2", b"3"]) == [b"2", b"1", b"3"]
    link.clear()
    link.duplicate(is_udp, nth=1, copies=2)
    assert said(wired, [b"1", b"2"]) == [b"1", b"1", b"1", b"2"]
    link.clear()
    link.corrupt(is_udp, nth=1)
    assert said(wired, [b"1", b"2"]) == [b"2"]


def test_a_delayed_datagram_is_overtaken(wired: Lab) -> None:
    wired["a"].link().delay(0.1, is_udp, nth=1)
    with wired["b"].capture("eth0") as capture:
        said(wired, [b"1", b"2"])
        wait_until(lambda: len(wired["a"].link().log) == 1, timeout=SOON, what="the delay")
        wired["a"].link().delay(0.1)
        wait_for_the_last(wired)
    assert [packet.payload for packet in capture.trace.where(is_udp)] == [b"2", b"1"]


def test_the_same_seed_loses_the_same_datagrams(labs: Labs) -> None:
    arrived = []
    for seed in (5, 5, 6):
        with pair(labs, "wire: true", seed=seed) as lab:
            wait_for_the_last(lab)
            lab["a"].impair(out={"loss": "30%"})
            arrived.append(said(lab, [str(number).encode() for number in range(100)]))
    assert arrived[0] == arrived[1]
    assert arrived[0] != arrived[2]


def test_frames_are_as_long_and_as_right_as_on_a_real_wire(wired: Lab) -> None:
    trace = exchange(wired).trace
    assert trace.dropped == 0
    assert max(packet.length for packet in trace) <= 1514
    assert {packet.checksum_ok for packet in trace if packet.tcp} == {True}
    assert len(trace.on("a").where(tcp.has_data)) >= 130


def test_a_wire_has_the_planned_address_and_mtu(labs: Labs) -> None:
    with pair(labs, "wire: true, mtu: 1000, mac: '02:00:00:00:00:77'") as lab:
        shown = lab["a"].run("ip", "link", "show", "eth0").check().stdout
        assert "mtu 1000" in shown
        assert "02:00:00:00:00:77" in shown
        assert lab["a"].ping(lab["b"].address(), size=900, timeout=SOON).received == 1


def test_a_predicate_that_raises_is_reported_and_cuts_nothing(wired: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def broken(_packet: Packet) -> bool:
        raise ZeroDivisionError

    wired["a"].link().drop(broken)
    assert wired["a"].ping(wired["b"].address(), timeout=SOON).received == 1
    assert [args.exc_type for args in reported] == [ZeroDivisionError]


def test_a_link_that_is_no_wire_says_how_to_make_it_one(wired: Lab) -> None:
    with pytest.raises(UsageError) as caught:
        wired["b"].link("lan")
    assert str(caught.value) == 'b:eth0 is no programmable wire (a:eth0); write "wire: true" at the interface'


def test_a_lab_without_wires_says_so(labs: Labs) -> None:
    with pair(labs, "") as lab, pytest.raises(UsageError, match="has no programmable wire"):
        lab["a"].link()


def test_wires_are_programmed_by_one_and_carried_on_when_it_is_gone(wired: Lab) -> None:
    ours, other = wired["a"].link(), NetnsBackend().attach(wired.name)
    ours.drop()
    with pytest.raises(UsageError, match="in the hands of another program"):
        other.link("a", "eth0")
    wired.backend._borrowed.close()  # type: ignore[attr-defined]  # as the end of this process would
    wait_for_the_last(wired)
    theirs = other.link("a", "eth0")
    theirs.drop()
    assert wired["a"].ping(wired["b"].address(), timeout=BRIEFLY).received == 0
    other._borrowed.close()  # type: ignore[union-attr]


def test_a_wire_survives_the_death_of_what_carries_its_frames(wired: Lab) -> None:
    wired["a"].impair(loss="100%")
    killed = wired["a"].run("sh", "-c", "kill -9 -1")
    wait_until(
        lambda: wired["a"].ping(wired["b"].address(), timeout=BRIEFLY).received == 0,
        timeout=SOON,
        what="the impairment to hold again",
    )
    wired["a"].impair()
    wait_for_the_last(wired)
    assert killed.exit_code in (0, -9)


def test_an_impairment_is_changed_while_a_client_has_the_wires(wired: Lab) -> None:
    wired["a"].link()
    wired["a"].impair(loss="100%")
    assert wired["a"].ping(wired["b"].address(), timeout=BRIEFLY).received == 0
    wired["a"].impair()
    assert wired["a"].ping(wired["b"].address(), timeout=SOON).received == 1
    assert {(entry.action, entry.rule) for entry in wired["a"].link().log} == {("drop", "loss")}


def test_nothing_of_a_wire_is_left_behind_its_lab(labs: Labs) -> None:
    with pair(labs, ""):
        pass  # what the first lab of all opens stays for the others
    before = open_descriptors()
    with pair(labs, "wire: true") as lab:
        lab["a"].link().hold()
        lab["a"].ping(lab["b"].address(), timeout=BRIEFLY)
    assert "wires" not in {thread.name for thread in threading.enumerate()}
    assert open_descriptors() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="hides a device, in a mount namespace")
def test_packet_sockets_do_where_there_are_no_tap_devices() -> None:
    """The tests above, with nothing behind /dev/net/tun."""
    hiding = 'mount --make-rprivate / && mount --bind /dev/null /dev/net/tun && exec "$@"'
    pytest_itself = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    chosen = ["-k", "second_ping or dropped_syn or real_wire or planned_address or carried_on"]
    unshare = shutil.which("unshare")
    assert unshare
    done = subprocess.run(
        [unshare, "-m", "sh", "-c", hiding, "sh", *pytest_itself, *chosen],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
