"""Lines in packetdrill's notation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.trace.notation import Printer, printable
from lab.trace.packet import Packet, decode
from lab.trace.trace import Trace
from tests import trace_packets as built

SAMPLES = built.samples()
LINES = Path(__file__).parent / "trace_samples" / "lines.txt"
MILLISECOND = 1_000_000


def client(time_ms: int, flags: int, seq: int, ack: int = 0, payload: bytes = b"", options: bytes = b"") -> Packet:
    frame = built.tcp4(payload, flags=flags, seq=seq, ack=ack, options=options)
    return decode(frame, time_ns=time_ms * MILLISECOND, node="host", interface="eth0", direction="out")


def server(time_ms: int, flags: int, seq: int, ack: int = 0, payload: bytes = b"", options: bytes = b"") -> Packet:
    segment = built.tcp(
        payload, flags=flags, seq=seq, ack=ack, options=options, ports=(80, 43210), src=built.WEB, dst=built.HOST
    )
    frame = built.ethernet(built.ipv4(segment, 6, src=built.WEB, dst=built.HOST), 0x0800)
    return decode(frame, time_ns=time_ms * MILLISECOND, node="host", interface="eth0", direction="in")


def bodies(*packets: Packet) -> list[str]:
    """Return the lines behind the addresses."""
    return [line.split(": ", 1)[1] for line in Trace(packets).lines()]


def test_every_kind_of_packet_has_its_line(golden: Callable[[Path, str], None]) -> None:
    lines = [f"{name}: {Printer().line(decode(frame))}" for name, frame in SAMPLES.items()]
    golden(LINES, "\n".join(lines) + "\n")


def test_a_connection_is_told_in_relative_numbers() -> None:
    trace = Trace(
        (
            client(0, 0x02, 7000, options=built.SYN_OPTIONS),
            server(1, 0x12, 90000, 7001, options=b"\x02\x04\x05\xb4"),
            client(2, 0x10, 7001, 90001),
            client(3, 0x18, 7001, 90001, b"GET /"),
            server(4, 0x10, 90001, 7006),
            server(5, 0x11, 90001, 7006, b"bye"),
            client(6, 0x14, 7006, 90005),
        )
    )
    assert trace.lines() == [
        (
            "0.000000 host:eth0 > 10.0.1.10.43210 > 10.0.1.80.80: "
            "S 0:0(0) win 64240 <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>"
        ),
        "0.001000 host:eth0 < 10.0.1.80.80 > 10.0.1.10.43210: S. 0:0(0) ack 1 win 64240 <mss 1460>",
        "0.002000 host:eth0 > 10.0.1.10.43210 > 10.0.1.80.80: . 1:1(0) ack 1 win 64240",
        "0.003000 host:eth0 > 10.0.1.10.43210 > 10.0.1.80.80: P. 1:6(5) ack 1 win 64240",
        "0.004000 host:eth0 < 10.0.1.80.80 > 10.0.1.10.43210: . 1:1(0) ack 6 win 64240",
        "0.005000 host:eth0 < 10.0.1.80.80 > 10.0.1.10.43210: F. 1:4(3) ack 6 win 64240",
        "0.006000 host:eth0 > 10.0.1.10.43210 > 10.0.1.80.80: R. 6:6(0) ack 5 win 64240",
    ]
    assert str(trace) == "\n".join(trace.lines())


def test_a_refused_connection_is_reset_at_zero() -> None:
    assert bodies(client(0, 0x02, 7000), server(1, 0x14, 0, 7001))[1] == "R. 0:0(0) ack 1 win 64240"


def test_a_selective_acknowledgment_is_relative_to_the_data_s_sender() -> None:
    sack = b"\x01\x01\x05\x0a" + (7501).to_bytes(4, "big") + (8001).to_bytes(4, "big")
    lines = bodies(client(0, 0x02, 7000), server(1, 0x12, 90000, 7001), server(2, 0x10, 90001, 7001, options=sack))
    assert lines[2] == ". 1:1(0) ack 1 win 64240 <nop,nop,sack 501:1001>"


def test_sequence_numbers_run_past_the_highest_one() -> None:
    lines = bodies(client(0, 0x02, 2**32 - 2), client(1, 0x18, 2**32 - 1, 1, b"abcd"), client(2, 0x18, 3, 1, b"e"))
    assert lines[1:] == ["P. 1:5(4) ack 1 win 64240", "P. 5:6(1) ack 1 win 64240"]


def test_each_connection_counts_for_itself() -> None:
    lines = bodies(client(0, 0x02, 100), client(1, 0x02, 900), client(2, 0x10, 901, 1))
    assert lines[2].startswith(". 1:1(0)")


def test_a_segment_without_flags_has_a_dash() -> None:
    assert bodies(client(0, 0, 100, payload=b"x"))[0] == "- 1:2(1) win 64240"


def test_the_length_is_the_wire_s_and_not_the_capture_s() -> None:
    frame = SAMPLES["tcp_data"]
    assert "1:1281(1280)" in Printer().line(decode(frame[:100], length=len(frame)))


@pytest.mark.parametrize(
    ("node", "interface", "direction", "start"),
    [
        ("host", "eth0", "out", "0.000000 host:eth0 > 10.0.1.10.40000 > "),
        ("host", "eth0", "in", "0.000000 host:eth0 < 10.0.1.10.40000 > "),
        ("host", "", "", "0.000000 host 10.0.1.10.40000 > "),
        ("", "", "", "0.000000 10.0.1.10.40000 > "),
    ],
)
def test_a_line_says_where_it_was_seen_as_far_as_known(node: str, interface: str, direction: str, start: str) -> None:
    packet = decode(SAMPLES["udp"], node=node, interface=interface, direction=direction)  # type: ignore[arg-type] # the values are listed above
    assert Printer().line(packet).startswith(start)


def test_times_count_from_the_first_packet_printed() -> None:
    printer = Printer()
    times = [
        decode(SAMPLES["udp"], time_ns=time) for time in (5 * 10**18, 5 * 10**18 + 61_234_567_891, 5 * 10**18 - 2000)
    ]
    assert [printer.line(packet).split()[0] for packet in times] == ["0.000000", "61.234567", "-0.000002"]


def test_a_malformed_packet_is_marked_at_the_end() -> None:
    line = Printer().line(decode(built.tcp4(options=b"\x02\x03\x05\x01")))
    assert line.endswith("<option-2 05,nop> [malformed: tcp: option 2 has length 3]")


def test_a_datagram_to_the_dns_port_that_is_no_message_is_marked() -> None:
    assert Printer().line(decode(built.udp4(b"junk", (40000, 53)))).endswith(": udp length 4 [malformed: dns]")


def test_a_dns_name_cannot_steer_the_terminal() -> None:
    name = b"\x06\x1b[31m\n\x00"
    wire = built.QUERY.to_wire()[:12] + name + b"\0\x01\0\x01"
    line = Printer().line(decode(built.udp4(wire, (40000, 53))))
    assert "dns query id 7 A " in line
    assert line.isprintable()


def test_what_is_not_printable_ascii_is_escaped() -> None:
    assert printable("a\x1b[2J\nb\u202e\xe9~") == "a\\x1b[2J\\nb\\u202e\\xe9~"
