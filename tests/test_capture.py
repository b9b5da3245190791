"""Captures: complete, honest about what is missing, on one clock, and of frames as a wire would carry them."""

from __future__ import annotations

import gc
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from lab import capture as capture_module
from lab.capture import arm_all, close_all
from lab.checks import icmp
from lab.errors import UsageError
from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.trace.pcap import read_pcap
from tests import tshark
from tests.small_labs import ROUTED, up

QUIET = "{name: quiet, networks: {lan: }, nodes: {left: {networks: {lan: }}, right: {networks: {lan: }}}}"
OFFLOADING = QUIET.replace("{networks: {lan: }}", "{networks: {lan: {offload: true}}}")
PORT = 4000
SENT = 20_000
BULK = 5_000_000
LARGEST_FRAME = 14 + 1500
# What two readings of one clock may seem to be out of order, as where it is being set meanwhile (CLOCK_REALTIME).
CLOCK_STEP_NS = 1_000_000


@pytest.fixture(scope="module")
def lab(labs: Labs) -> Iterator[Lab]:
    """Two hosts without IPv6, so that nothing is on the wire but what a test sends."""
    with up(QUIET, labs.backend) as made:
        assert made["left"].ping(made["right"].address()).received == 1  # they know each other's hardware addresses
        yield made


@pytest.fixture(scope="module")
def routed(labs: Labs) -> Iterator[Lab]:
    with up(ROUTED, labs.backend) as made:
        yield made


def blast(lab: Lab, count: int) -> None:
    """Send so many datagrams from left to a socket of right that nobody reads."""
    with (
        lab["right"].socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        lab["left"].socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind((lab["right"].address(), PORT))
        for number in range(count):
            sender.sendto(struct.pack("!I", number), receiver.getsockname())


def transfer(lab: Lab, size: int) -> None:
    """Send so many bytes over TCP from left to right."""
    with lab["right"].socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((lab["right"].address(), 0))
        listener.listen()

        def send() -> None:
            with lab["left"].socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                client.connect(listener.getsockname())
                client.sendall(bytes(size))

        sender = threading.Thread(target=send)
        sender.start()
        listener.settimeout(10)
        server, _ = listener.accept()
        with server:
            received = 0
            while data := server.recv(1 << 16):
                received += len(data)
        sender.join()
    assert received == size


def test_every_packet_of_a_burst_is_captured_or_counted_as_dropped(lab: Lab) -> None:
    before = lab["right"].counters()["IpInReceives"]
    with (
        lab["left"].capture("eth0", expression="udp") as sent,
        lab["right"].capture("eth0", expression="ip and not icmp") as arrived,  # ARP is not counted, ICMP goes out
    ):
        blast(lab, SENT)
    assert len(sent.trace) + sent.trace.dropped == SENT
    assert len(arrived.trace) + arrived.trace.dropped == lab["right"].counters()["IpInReceives"] - before


def test_packets_dropped_for_want_of_room_are_counted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "_RECEIVE_BUFFER", 1)
    with lab["left"].capture("eth0", expression="udp") as capture:
        blast(lab, SENT)
    assert capture.trace.dropped > 0
    assert len(capture.trace) + capture.trace.dropped == SENT


def test_packets_stay_in_order(lab: Lab) -> None:
    with lab["left"].capture("eth0", expression="udp") as capture:
        blast(lab, 1000)
    numbers = [struct.unpack("!I", packet.payload)[0] for packet in capture.trace]
    assert numbers == sorted(numbers)


def test_a_packet_has_the_time_at_which_it_passed_not_at_which_it_was_read(lab: Lab) -> None:
    taps = arm_all(lab.backend, lab.targets("left", "right"))
    before = time.time_ns()
    lab["left"].ping(lab["right"].address(), count=5)
    after = time.time_ns()
    with lab["left"].capture():  # an arming and a reading later
        pass
    times = {tap.node: [frame.time_ns for frame in tap.read()] for tap in taps}
    close_all(taps)
    for of_node in times.values():
        assert len(of_node) == 10
        assert of_node == sorted(of_node)
        assert before - CLOCK_STEP_NS <= of_node[0]
        assert of_node[-1] <= after + CLOCK_STEP_NS


def test_all_nodes_share_one_clock(routed: Lab) -> None:
    path = [("client", "eth0"), ("router", "eth0"), ("router", "eth1"), ("server", "eth0")]
    with routed.capture(expression="icmp") as capture:
        assert routed["client"].ping(routed["server"].address(), count=20).received == 20
    for sequence in range(1, 21):
        requests = [
            packet
            for packet in capture.trace.where(icmp.is_echo_request)
            if packet.icmp and packet.icmp.seq == sequence
        ]
        times = {(packet.node, packet.interface): packet.time_ns for packet in requests}
        assert set(times) == set(path)
        for earlier, later in pairwise(path):
            assert times[earlier] <= times[later] + CLOCK_STEP_NS


def test_a_capture_tells_what_its_interface_sent_from_what_it_received(lab: Lab) -> None:
    with lab.capture(expression="icmp") as capture:
        lab["left"].ping(lab["right"].address())
    kinds = {
        (packet.node, packet.direction): "request" if icmp.is_echo_request(packet) else "reply"
        for packet in capture.trace
    }
    assert len(capture.trace) == 4
    assert kinds == {
        ("left", "out"): "request",
        ("right", "in"): "request",
        ("right", "out"): "reply",
        ("left", "in"): "reply",
    }


def test_a_capture_without_a_target_is_of_every_interface(routed: Lab) -> None:
    with routed.capture() as capture:
        routed["client"].ping(routed["server"].address())
    assert {(packet.node, packet.interface) for packet in capture.trace} == {
        ("client", "eth0"),
        ("router", "eth0"),
        ("router", "eth1"),
        ("server", "eth0"),
    }


@pytest.mark.parametrize(
    "tags",
    [
        bytes.fromhex("8100 a02a"),
        bytes.fromhex("88a8 0064 8100 0007"),
    ],
    ids=["802.1Q", "802.1ad"],
)
def test_vlan_tags_are_where_they_were_on_the_wire(lab: Lab, tags: bytes) -> None:
    frame = b"\xff" * 6 + bytes.fromhex("020000000077") + tags + bytes.fromhex("0800") + b"\x45" + bytes(59)
    with (
        lab["left"].socket(socket.AF_PACKET, socket.SOCK_RAW) as channel,
        lab.capture("left:eth0", "right:eth0") as capture,
    ):
        channel.bind(("eth0", 0))
        channel.send(frame)
        lab["left"].ping(lab["right"].address())  # goes the same way behind it
    tagged = capture.trace.where(lambda packet: bool(packet.eth and packet.eth.vlans))
    assert [(packet.node, packet.direction) for packet in tagged] == [("left", "out"), ("right", "in")]
    for packet in tagged:
        assert packet.data == frame
        assert packet.length == len(frame)
        assert packet.eth
        assert [struct.pack("!H", tag.tpid) for tag in packet.eth.vlans] == [tags[i : i + 2] for i in (0, 4)][
            : len(tags) // 4
        ]


def test_a_filter_keeps_all_else_out(routed: Lab) -> None:
    client, server = routed["client"], routed["server"]
    with client.capture(expression=f"ip6 and icmp6 and dst host {server.address(version=6)}") as capture:
        client.ping(server.address())
        client.ping(server.address(version=6), count=2)
    assert [icmp.is_echo_request(packet) for packet in capture.trace] == [True, True]


def test_names_in_a_filter_are_the_labs_own(routed: Lab) -> None:
    client = routed["client"]
    with client.capture(expression="icmp and dst host server") as capture:
        client.ping(routed["router"].address("lan"))
        client.ping(routed["server"].address())
    (packet,) = capture.trace
    assert packet.ip
    assert packet.ip.dst == routed["server"].address()


def test_a_filter_that_is_none_is_refused_with_the_compilers_words(lab: Lab) -> None:
    capture = lab.capture(expression="prot tcp")
    with pytest.raises(UsageError, match=r'^filter "prot tcp": .*syntax error'):
        capture.__enter__()
    assert not capture.finished


def test_a_name_in_a_filter_that_the_lab_does_not_have_is_refused(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r'^filter "host nobody": unknown host'):
        lab["left"].capture(expression="host nobody").__enter__()


def test_an_unknown_interface_is_named_with_those_that_there_are(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r'cannot capture on left:eth7 \(No such device\); "left" has eth0'):
        lab["left"].capture("eth0", "eth7").__enter__()
    gc.collect()  # a socket that was left open would be a warning, and so an error


def test_an_unknown_node_is_refused_at_once(lab: Lab) -> None:
    with pytest.raises(UsageError, match='no node named "nobody"'):
        lab.capture("nobody:eth0")


def test_a_capture_has_no_trace_before_it_ends(lab: Lab) -> None:
    with lab["left"].capture(expression="udp") as capture:
        assert not capture.finished
        with pytest.raises(UsageError, match="a capture has its trace once its block is left"):
            capture.trace  # noqa: B018 - the property is what raises
    assert capture.finished
    assert len(capture.trace) == 0


def test_a_capture_outlives_an_interface_that_goes_down_and_up(labs: Labs) -> None:
    with up(QUIET, labs.backend) as flapping:
        left, right = flapping["left"], flapping["right"].address()
        with left.capture("eth0", expression="icmp") as capture:
            assert left.ping(right).received == 1
            left.run("ip", "link", "set", "eth0", "down").check()
            left.run("ip", "link", "set", "eth0", "up").check()
            left.run("ip", "route", "replace", "10.0.1.0/24", "dev", "eth0").check()
            assert left.ping(right, timeout=10).received == 1
        assert len(capture.trace) == 4


def test_captures_of_one_interface_do_not_share_packets(lab: Lab) -> None:
    left, right = lab["left"], lab["right"].address()
    with left.capture(expression="icmp") as outer:
        left.ping(right)
        with left.capture(expression="icmp") as inner:
            left.ping(right)
    assert (len(outer.trace), len(inner.trace)) == (4, 2)


def test_frames_are_as_a_wire_would_carry_them(lab: Lab) -> None:
    with lab.capture() as capture:
        transfer(lab, BULK)
    assert capture.trace.dropped == 0
    data = capture.trace.on("left").where(lambda packet: packet.payload_length > 0)
    assert sum(packet.payload_length for packet in data) >= BULK
    assert max(packet.length for packet in data) == LARGEST_FRAME
    assert [packet for packet in capture.trace if not packet.checksum_ok and packet.arp is None] == []


def test_with_offload_frames_are_larger_than_any_wire_carries(labs: Labs) -> None:
    with up(OFFLOADING, labs.backend) as offloading:
        with offloading.capture() as capture:
            transfer(offloading, BULK)
        data = capture.trace.where(lambda packet: packet.payload_length > 0)
        assert max(packet.length for packet in data) > LARGEST_FRAME
        assert not any(packet.transport_checksum_ok for packet in data.on("left"))


def test_a_pcap_file_holds_what_the_trace_holds(lab: Lab, tmp_path: Path) -> None:
    with lab.capture() as capture:
        lab["left"].ping(lab["right"].address(), count=3)
    paths = capture.write_pcaps(tmp_path)
    assert [path.name for path in paths] == ["left-eth0.pcap", "right-eth0.pcap"]
    for path, node in zip(paths, ("left", "right"), strict=True):
        expected = [(packet.time_ns, packet.data, packet.length) for packet in capture.trace.on(node)]
        assert list(read_pcap(path)) == expected


@pytest.mark.skipif(tshark.IS_MISSING, reason=tshark.WHY_MISSING)
def test_others_read_the_pcap_files_too(lab: Lab, tmp_path: Path) -> None:
    with lab.capture() as capture:
        blast(lab, 100)
    for path in capture.write_pcaps(tmp_path):
        arguments = [
            shutil.which("tshark") or "tshark",
            "-n",
            "-r",
            str(path),
            "-T",
            "fields",
            "-e",
            "frame.time_epoch",
        ]
        shown = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.splitlines()
        node = path.name.partition("-")[0]
        times = [f"{packet.time_ns // 10**9}.{packet.time_ns % 10**9:09}" for packet in capture.trace.on(node)]
        assert len(shown) >= 100
        assert shown == times
