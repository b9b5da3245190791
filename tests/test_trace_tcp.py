"""TCP segments and their options."""

from __future__ import annotations

import pytest

from lab.trace import tcp_options as options
from lab.trace.packet import decode
from lab.trace.tcp import TCP
from tests import trace_packets as built

SAMPLES = built.samples()
NOP = options.NoOperation()
TIMESTAMPS = (NOP, NOP, options.Timestamps(100, 99))


def segment(frame: bytes) -> TCP:
    found = decode(frame).tcp
    assert found is not None
    return found


def test_a_header_is_decoded() -> None:
    packet = decode(built.tcp4(b"hello", flags=0x18))
    tcp = packet.tcp
    assert tcp is not None
    assert (tcp.source_port, tcp.destination_port, tcp.seq, tcp.ack) == (43210, 80, 1001, 2001)
    assert (tcp.header_length, tcp.flags, tcp.window, tcp.urgent_pointer) == (20, 0x18, 64240, 0)
    assert (packet.payload, packet.payload_length) == (b"hello", 5)


@pytest.mark.parametrize(
    ("bit", "name"),
    [
        (0x01, "is_fin"),
        (0x02, "is_syn"),
        (0x04, "is_rst"),
        (0x08, "is_psh"),
        (0x10, "is_ack"),
        (0x20, "is_urg"),
    ],
)
def test_each_flag_is_read_from_its_own_bit(bit: int, name: str) -> None:
    assert getattr(segment(built.tcp4(flags=bit)), name)
    assert not getattr(segment(built.tcp4(flags=0x1FF & ~bit)), name)


def test_the_urgent_pointer_is_decoded() -> None:
    tcp = segment(SAMPLES["tcp_urgent"])
    assert tcp.is_urg
    assert tcp.urgent_pointer == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "syn",
            (
                options.MaximumSegmentSize(1460),
                options.SackPermitted(),
                options.Timestamps(100, 0),
                NOP,
                options.WindowScale(7),
            ),
        ),
        ("timestamps", TIMESTAMPS),
        ("end", (NOP, options.EndOfOptions())),
        ("sack", (NOP, NOP, options.Sack(((3001, 4001), (5001, 6001))))),
        ("sack_with_timestamps", (*TIMESTAMPS, NOP, NOP, options.Sack(((3001, 4001),)))),
        ("md5", (options.MD5Signature(bytes(range(16))), NOP, NOP)),
        ("authentication", (options.Authentication(1, 2, bytes(range(12))),)),
        ("fast_open_request", (options.FastOpen(b""), NOP, NOP)),
        ("fast_open", (options.FastOpen(bytes(range(8))), NOP, NOP)),
        ("user_timeout", (options.UserTimeout(300),)),
        ("multipath", (options.Multipath(0, b"\x01\x81" + bytes(range(8))),)),
        ("unknown", (options.UnknownOption(200, b"\xab\xcd"),)),
    ],
)
def test_every_option_is_decoded(name: str, expected: tuple[options.Option, ...]) -> None:
    assert segment(SAMPLES[f"tcp_{name}"]).options == expected


def test_the_usual_options_have_names_of_their_own() -> None:
    syn = segment(SAMPLES["tcp_syn_only"])
    assert (syn.mss, syn.window_scale, syn.sack_permitted, syn.sack_blocks) == (1460, 7, True, ())
    assert syn.timestamps == options.Timestamps(100, 0)
    assert segment(SAMPLES["tcp_sack"]).sack_blocks == ((3001, 4001), (5001, 6001))


def test_a_segment_without_options_has_none_of_them() -> None:
    tcp = segment(SAMPLES["tcp_fin"])
    assert (tcp.mss, tcp.window_scale, tcp.sack_permitted, tcp.timestamps) == (None, None, False, None)


def _with_data_offset(words: int, payload: bytes = b"") -> bytes:
    frame = bytearray(built.tcp4(payload))
    frame[14 + 20 + 12] = words << 4
    return bytes(frame)


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (built.tcp4()[:50], "tcp: cut off after 16 of 20 bytes"),
        (built.ethernet(built.ipv4(bytes(10), 6), 0x0800).ljust(60, b"\0"), "tcp: cut off after 10 of 20 bytes"),
        (_with_data_offset(3), "tcp: data offset 3 is below 5"),
        (_with_data_offset(8), "tcp: cut off after 20 of 32 bytes"),
        (built.tcp4(options=b"\x02\x03\x05\x01"), "tcp: option 2 has length 3"),
        (built.tcp4(options=b"\x03\x02\x01\x01"), "tcp: option 3 has length 2"),
        (built.tcp4(options=b"\x04\x03\x05\x01"), "tcp: option 4 has length 3"),
        (built.tcp4(options=b"\x05\x06\0\0\0\0\x01\x01"), "tcp: option 5 has length 6"),
        (built.tcp4(options=b"\x08\x06\0\0\0\0\x01\x01"), "tcp: option 8 has length 6"),
        (built.tcp4(options=b"\x13\x04\0\0"), "tcp: option 19 has length 4"),
        (built.tcp4(options=b"\x1d\x03\0\0"), "tcp: option 29 has length 3"),
        (built.tcp4(options=b"\x1e\x02\0\0"), "tcp: option 30 has length 2"),
        (built.tcp4(options=b"\x02\0\x05\x01"), "tcp: option 2 has length 0"),
        (built.tcp4(options=b"\x02\x09\x05\x01"), "tcp: option 2 of 9 bytes has only 4"),
        (built.tcp4(options=b"\x01\x01\x01\x02"), "tcp: option 2 has no length"),
    ],
)
def test_every_fault_is_named(frame: bytes, fault: str) -> None:
    assert decode(frame).malformed[-1] == fault


def test_an_option_of_a_wrong_size_is_kept_raw() -> None:
    assert segment(built.tcp4(options=b"\x02\x03\x05\x01")).options == (
        options.UnknownOption(2, b"\x05"),
        NOP,
    )


def test_options_behind_a_broken_one_are_not_guessed() -> None:
    assert segment(built.tcp4(options=b"\x02\0\x05\xb4\x03\x03\x07\x01")).options == ()
