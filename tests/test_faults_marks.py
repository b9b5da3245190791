"""Marks in traces: pure."""

from __future__ import annotations

from lab.faults.model import Fault, FaultState, Mark
from lab.trace.notation import Printer
from lab.trace.packet import Packet, decode
from lab.trace.trace import Trace, merge

START = 1_700_000_000_000_000_000
EMPTY = bytes(14)  # an Ethernet header


def packet(after_us: int) -> Packet:
    return decode(EMPTY, time_ns=START + after_us * 1000, node="a", interface="eth0")


def mark(after_us: int, text: str) -> Mark:
    return Mark(START + after_us * 1000, text)


def test_marks_stand_between_the_packets_by_time() -> None:
    trace = Trace((packet(0), packet(5_000_300)), marks=(mark(7_000_000, "restore"), mark(5_000_213, "cut a b")))
    assert [line.split(" ", 2)[:2] for line in trace.lines()] == [
        ["0.000000", "a:eth0"],
        ["5.000213", "--"],
        ["5.000300", "a:eth0"],
        ["7.000000", "--"],
    ]
    assert trace.lines()[1] == "5.000213 -- cut a b"


def test_times_count_from_the_first_line_even_if_that_is_a_mark() -> None:
    lines = Trace((packet(20),), marks=(mark(0, "kill a"),)).lines()
    assert lines[0] == "0.000000 -- kill a"
    assert lines[1].startswith("0.000020 a:eth0")


def test_a_selection_keeps_the_marks() -> None:
    trace = Trace((packet(0), packet(2)), marks=(mark(1, "cut a"),))
    assert trace.where(lambda _packet: False).marks == trace[:1].marks == trace.marks
    assert len(trace.where(lambda _packet: False)) == 0


def test_traces_of_one_lab_share_their_marks() -> None:
    one, other = (Trace((packet(after),), marks=(mark(1, "cut a"), mark(3, "restore"))) for after in (0, 2))
    assert [one.text for one in merge([one, other]).marks] == ["cut a", "restore"]


def test_a_mark_cannot_steer_a_terminal() -> None:
    assert Printer().mark(Mark(START, "cut \x1b[31m")) == "0.000000 -- cut \\x1b[31m"


def test_a_fault_reads_as_it_is_written() -> None:
    assert str(Fault("cut", ("a:eth0",), carrier=True)) == "cut a:eth0 carrier"
    assert str(Fault("restore")) == "restore"
    assert str(Fault("impair", ("a:eth0",), details="delay 10ms")) == "impair a:eth0 delay 10ms"


def test_what_was_done_survives_its_way_as_plain_data() -> None:
    fault = Fault("partition", ("a,b", "c"))
    assert Fault.from_data({"action": "partition", "targets": ["a,b", "c"], "carrier": False, "details": ""}) == fault
    state = FaultState(("a b",), ("c",), (mark(1, "cut a b"),), 2)
    data = {"cuts": ["a b"], "off": ["c"], "marks": [{"time_ns": START + 1000, "text": "cut a b"}], "pending": 2}
    assert FaultState.from_data(data) == state
