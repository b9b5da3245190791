"""The Trace: order, selection, conversations."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.trace.packet import Packet, decode
from lab.trace.pcap import CaptureFileError, PcapWriter
from lab.trace.trace import Conversation, NoSuchPacketError, Trace, merge
from tests import trace_packets as built

CLIENT, SERVER = (built.HOST, 43210), (built.WEB, 80)
SYN, SYN_ACK, ACK, FIN_ACK, RST_ACK = 0x02, 0x12, 0x10, 0x11, 0x14


def packet(time: int, name: str = "udp", node: str = "host", interface: str = "eth0") -> Packet:
    return decode(built.samples()[name], time_ns=time, node=node, interface=interface)


def sent(time: int, flags: int, seq: int, ack: int = 0, payload: bytes = b"") -> Packet:
    return decode(built.tcp4(payload, flags=flags, seq=seq, ack=ack), time_ns=time)


def answered(time: int, flags: int, seq: int, ack: int = 0, payload: bytes = b"") -> Packet:
    frame = built.tcp4(payload, flags=flags, seq=seq, ack=ack, ports=(80, 43210), src=built.WEB, dst=built.HOST)
    return decode(frame, time_ns=time)


def is_udp(packet: Packet) -> bool:
    return packet.udp is not None


def times(trace: Trace) -> list[int]:
    return [packet.time_ns for packet in trace]


def test_packets_are_sorted_by_time_and_keep_their_order_at_one_time() -> None:
    packets = (packet(3), packet(1, node="a"), packet(1, node="b"))
    trace = Trace(packets)
    assert times(trace) == [1, 1, 3]
    assert [packet.node for packet in trace] == ["a", "b", "host"]


def test_a_trace_is_a_sequence() -> None:
    trace = Trace((packet(1), packet(2), packet(3)), dropped=4)
    assert len(trace) == 3
    assert trace[0].time_ns == 1
    assert trace[-1].time_ns == 3
    assert times(trace[1:]) == [2, 3]
    assert trace[1:].dropped == 4


def test_where_keeps_the_packets_for_which_all_predicates_hold() -> None:
    trace = Trace((packet(1), packet(2, "arp_request"), packet(3)))
    assert times(trace.where(is_udp)) == [1, 3]
    assert times(trace.where(is_udp, lambda packet: packet.time_ns > 1)) == [3]
    assert times(trace.where()) == [1, 2, 3]


def test_on_keeps_what_one_node_or_interface_saw() -> None:
    trace = Trace((packet(1), packet(2, interface="eth1"), packet(3, node="web")))
    assert times(trace.on("host")) == [1, 2]
    assert times(trace.on("host", "eth1")) == [2]


def test_first_and_last_find_a_packet() -> None:
    trace = Trace((packet(1, "arp_request"), packet(2), packet(3), packet(4, "arp_reply")))
    assert trace.first().time_ns == 1
    assert trace.first(is_udp).time_ns == 2
    assert trace.where(is_udp).last().time_ns == 3


def test_a_packet_that_is_not_there_is_an_error_that_shows_what_is() -> None:
    trace = Trace((packet(1, "arp_request"), packet(2, "arp_reply")))
    with pytest.raises(NoSuchPacketError) as caught:
        trace.where(is_udp).first()
    assert str(caught.value) == (
        "no such packet among the 2 captured: 0.000000 host:eth0 arp who-has 10.0.1.1 tell 10.0.1.10; "
        "0.000000 host:eth0 arp 10.0.1.1 is-at 02:00:00:00:00:10"
    )
    assert isinstance(caught.value, LabError)


def test_the_error_shows_the_whole_trace_however_often_it_was_selected_from() -> None:
    trace = Trace((packet(1, "arp_request"),))
    with pytest.raises(NoSuchPacketError, match=r"among the 1 captured: .*who-has"):
        trace.on("web")[:5].where(is_udp).last(is_udp)


def test_the_error_of_a_long_trace_stays_readable() -> None:
    trace = Trace(tuple(packet(time) for time in range(50)))
    with pytest.raises(NoSuchPacketError, match=r"and 30 more$"):
        trace.first(lambda packet: packet.arp is not None)


def test_the_error_of_an_empty_trace_tells_what_the_kernel_dropped() -> None:
    with pytest.raises(NoSuchPacketError, match=r"nothing was captured \(3 packets dropped by the kernel\)"):
        Trace(dropped=3).first()


def test_merge_sorts_and_adds_up_what_was_dropped() -> None:
    merged = merge([Trace((packet(1), packet(4)), dropped=1), Trace((packet(2),), dropped=2)])
    assert times(merged) == [1, 2, 4]
    assert merged.dropped == 3


def test_a_file_is_read_into_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    with path.open("wb") as file:
        writer = PcapWriter(file)
        writer.write(5, built.samples()["udp"], 900)
    (found,) = Trace.from_pcap(path, node="host", interface="eth0")
    assert (found.time_ns, found.length, found.node, found.interface) == (5, 900, "host", "eth0")
    assert found.udp is not None


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(*, enabled: bool) -> None:
    was_enabled = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(CaptureFileError):
            Trace.from_pcap("/nowhere.pcap")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


def test_a_damaged_file_gives_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(b"junk")
    with pytest.raises(CaptureFileError):
        Trace.from_pcap(path)


def ends(conversations: tuple[Conversation, ...]) -> list[tuple[object, object, list[int]]]:
    return [(found.client, found.server, times(found.trace)) for found in conversations]


def test_both_directions_of_a_connection_are_one_conversation() -> None:
    trace = Trace(
        (
            sent(1, SYN, 100),
            answered(2, SYN_ACK, 500, 101),
            sent(3, ACK, 101, 501),
            packet(4),
            answered(5, FIN_ACK, 501, 101),
        )
    )
    assert ends(trace.conversations()) == [(CLIENT, SERVER, [1, 2, 3, 5])]
    (conversation,) = trace.conversations()
    assert times(conversation.from_client) == [1, 3]
    assert times(conversation.from_server) == [2, 5]


def test_a_new_syn_is_a_new_conversation() -> None:
    trace = Trace((sent(1, SYN, 100), answered(2, RST_ACK, 0, 101), sent(3, SYN, 900), answered(4, SYN_ACK, 5, 901)))
    assert ends(trace.conversations()) == [(CLIENT, SERVER, [1, 2]), (CLIENT, SERVER, [3, 4])]


def test_a_retransmitted_syn_is_not_a_new_conversation() -> None:
    trace = Trace((sent(1, SYN, 100), sent(2, SYN, 100), answered(3, SYN_ACK, 500, 101), sent(4, SYN, 100)))
    assert ends(trace.conversations()) == [(CLIENT, SERVER, [1, 2, 3, 4])]


def test_crossing_syns_are_one_conversation() -> None:
    trace = Trace(
        (sent(1, SYN, 100), answered(2, SYN, 500), sent(3, SYN_ACK, 100, 501), answered(4, SYN_ACK, 500, 101))
    )
    assert ends(trace.conversations()) == [(CLIENT, SERVER, [1, 2, 3, 4])]


def test_the_server_connecting_back_is_a_new_conversation() -> None:
    trace = Trace((sent(1, SYN, 100), answered(2, RST_ACK, 0, 101), answered(3, SYN, 500)))
    assert ends(trace.conversations()) == [(CLIENT, SERVER, [1, 2]), (SERVER, CLIENT, [3])]


def test_a_conversation_that_begins_with_the_server_s_syn_knows_its_client() -> None:
    trace = Trace((answered(1, SYN_ACK, 500, 101), sent(2, ACK, 101, 501)))
    assert ends(trace.conversations()) == [(CLIENT, SERVER, [1, 2])]


def test_a_conversation_captured_from_its_middle_begins_with_its_first_sender() -> None:
    trace = Trace((answered(1, ACK, 700, 300, b"data"), sent(2, ACK, 300, 704)))
    assert ends(trace.conversations()) == [(SERVER, CLIENT, [1, 2])]
