"""A stream is put together from segments that came twice, late, in pieces, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.trace.packet import Packet, decode
from lab.trace.stream import IncompleteStreamError, Stream, reassemble
from lab.trace.trace import Trace
from tests import trace_packets as built

SYN, ACK, PSH_ACK, FIN_ACK, RST = 0x02, 0x10, 0x18, 0x11, 0x04
ISN = 1000
LAST_NUMBER = 0xFFFFFFFF


def segment(payload: bytes = b"", *, seq: int, flags: int = PSH_ACK, time: int = 0) -> Packet:
    return decode(built.tcp4(payload, seq=seq % (LAST_NUMBER + 1), flags=flags), time_ns=time)


def stream(*packets: Packet) -> Stream:
    return reassemble(Trace(packets))


def test_segments_are_joined_behind_the_syn() -> None:
    found = stream(segment(seq=ISN, flags=SYN), segment(b"abc", seq=ISN + 1), segment(b"def", seq=ISN + 4))
    assert found == Stream(b"abcdef", closed=False)


def test_data_on_the_syn_itself_comes_first() -> None:
    found = stream(segment(b"abc", seq=ISN, flags=SYN), segment(b"def", seq=ISN + 4))
    assert found.data == b"abcdef"


def test_late_segments_are_put_in_their_place() -> None:
    found = stream(
        segment(seq=ISN, flags=SYN, time=1),
        segment(b"ghi", seq=ISN + 7, time=2),
        segment(b"abc", seq=ISN + 1, time=3),
        segment(b"def", seq=ISN + 4, time=4),
    )
    assert found.data == b"abcdefghi"


def test_what_is_sent_again_counts_once_even_in_other_pieces() -> None:
    found = stream(
        segment(b"abc", seq=ISN), segment(b"def", seq=ISN + 3), segment(b"bcd", seq=ISN + 1), segment(b"abc", seq=ISN)
    )
    assert found.data == b"abcdef"


def test_a_repeat_that_reaches_further_adds_what_is_new() -> None:
    assert stream(segment(b"abc", seq=ISN), segment(b"abcdef", seq=ISN)).data == b"abcdef"


def test_a_keepalive_probe_adds_nothing() -> None:
    found = stream(
        segment(seq=ISN, flags=SYN), segment(b"?", seq=ISN, flags=ACK), segment(b"abc", seq=ISN + 1), segment(seq=ISN)
    )
    assert found.data == b"abc"


def test_sequence_numbers_wrap_around() -> None:
    first = LAST_NUMBER - 2
    found = stream(segment(seq=first - 1, flags=SYN), segment(b"abc", seq=first), segment(b"def", seq=first + 3))
    assert found.data == b"abcdef"


def test_a_stream_seen_from_its_middle_on_begins_at_its_lowest_number() -> None:
    found = stream(segment(b"def", seq=2, time=1), segment(b"abc", seq=LAST_NUMBER, time=2))
    assert found.data == b"abcdef"


def test_a_fin_closes_the_stream() -> None:
    assert stream(segment(b"abc", seq=ISN), segment(b"def", seq=ISN + 3, flags=FIN_ACK)).closed
    assert stream(segment(b"abc", seq=ISN), segment(seq=ISN + 3, flags=FIN_ACK)) == Stream(b"abc", closed=True)


def test_a_reset_is_no_part_of_the_stream() -> None:
    assert stream(segment(b"abc", seq=ISN), segment(b"why", seq=ISN + 9, flags=RST)).data == b"abc"


def test_no_segments_are_an_empty_stream() -> None:
    assert stream() == Stream(b"", closed=False)


@pytest.mark.parametrize(
    ("late", "missing"),
    [
        (segment(b"def", seq=ISN + 6), "bytes 3 to 4"),
        (segment(seq=ISN + 5, flags=FIN_ACK), "bytes 3 to 3"),
        (decode(built.tcp4(b"defg", seq=ISN + 4)[:-2], length=len(built.tcp4(b"defg"))), "bytes 5 to 6"),
    ],
    ids=["a hole in the middle", "a hole before the end", "captured in part"],
)
def test_missing_bytes_are_an_error_that_says_which(late: Packet, missing: str) -> None:
    with pytest.raises(IncompleteStreamError, match=missing):
        stream(segment(seq=ISN, flags=SYN), segment(b"abc", seq=ISN + 1), late)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60), st.data())
def test_any_cut_order_and_repetition_gives_the_same_bytes(data: bytes, draw: st.DataObject) -> None:
    piece = st.tuples(st.integers(0, len(data) - 1), st.integers(1, len(data)))
    repeats = draw.draw(st.lists(piece, max_size=8))
    size = draw.draw(st.integers(1, len(data)))
    pieces = [(start, size) for start in range(0, len(data), size)] + repeats
    origin = draw.draw(st.integers(0, LAST_NUMBER))
    packets = [segment(data[start : start + length], seq=origin + start) for start, length in pieces]
    assert stream(*draw.draw(st.permutations(packets))).data == data
