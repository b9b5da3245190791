from __future__ import annotations

import pytest

from lab.checks import arp, tcp
from lab.errors import BackendError
from lab.link.instrument import Link
from lab.link.line import Departure
from lab.link.relay import Relay
from lab.link.rules import Rule, Way
from lab.link.wire import Wire
from lab.plan.model import Impairment
from lab.trace.packet import Packet

MS = 1_000_000


def frame(number: int, length: int = 60) -> bytes:
    """An Ethernet frame of no protocol anyone knows, told from others by its last byte."""
    return bytes(12) + b"\x88\xb5" + bytes(length - 15) + bytes([number])


def wire(**options: object) -> Wire:
    return Wire("a", "eth0", **options)  # type: ignore[arg-type]


def order(one: Wire, *rules: Rule) -> Wire:
    one.rules = rules
    return one


def sent(departures: list[Departure]) -> list[int]:
    return [one[-1] for _when, one in sorted(departures, key=lambda departure: departure[0])]


def passes(one: Wire, count: int, way: Way = "out") -> list[int]:
    return [number for number in range(1, count + 1) for number in sent(one.decide(way, frame(number), number * MS))]


def is_even(packet: Packet) -> bool:
    return packet.data[-1] % 2 == 0


def test_the_nth_packet_is_dropped_and_no_other() -> None:
    one = order(wire(), Rule("drop", nth={3}))
    assert passes(one, 5) == [1, 2, 4, 5]
    assert [(entry.action, entry.rule, entry.packet.data[-1]) for entry in one.log] == [("drop", "drop(nth=3)", 3)]


def test_the_nth_is_counted_among_those_that_the_predicate_holds_for() -> None:
    one = order(wire(), Rule("drop", where=is_even, nth={2}))
    assert passes(one, 6) == [1, 2, 3, 5, 6]
    assert one.log[0].rule == "drop(is_even, nth=2)"


def test_a_predicate_without_a_number_holds_for_all() -> None:
    assert passes(order(wire(), Rule("drop", where=is_even)), 6) == [1, 3, 5]


def test_a_rule_for_one_direction_leaves_the_other_alone() -> None:
    one = order(wire(), Rule("drop", way="in"))
    assert passes(one, 2, "out") == [1, 2]
    assert passes(one, 2, "in") == []
    assert {entry.direction for entry in one.log} == {"in"}


def test_a_rule_for_both_directions_counts_them_together() -> None:
    one = order(wire(), Rule("drop", nth={2}))
    assert passes(one, 1, "out") == [1]
    assert passes(one, 1, "in") == []


def test_held_packets_go_on_in_the_order_in_which_they_came() -> None:
    holding = Rule("hold", where=is_even)
    one = order(wire(), holding)
    assert passes(one, 5) == [1, 3, 5]
    freed = one.take_away((holding,), 9 * MS)
    assert [(way, when, data[-1]) for way, (when, data) in freed] == [("out", 9 * MS, 2), ("out", 9 * MS, 4)]
    assert passes(one, 2) == [1, 2]
    assert [entry.action for entry in one.log] == ["hold", "hold", "release", "release"]


def test_a_released_packet_is_delayed_like_any_other() -> None:
    holding = Rule("hold")
    one = order(wire(out=Impairment(delay_us=5000)), holding)
    one.decide("out", frame(1), 0)
    assert [when for _way, (when, _data) in one.take_away((holding,), 2 * MS)] == [7 * MS]


def test_a_reordered_packet_follows_the_next_one() -> None:
    assert passes(order(wire(), Rule("reorder", nth={2})), 4) == [1, 3, 2, 4]


def test_a_reordered_packet_that_nobody_follows_goes_on_when_the_rule_goes() -> None:
    rule = Rule("reorder", nth={1})
    one = order(wire(), rule)
    assert passes(one, 1) == []
    assert [data[-1] for _way, (_when, data) in one.take_away((rule,), 0)] == [1]


def test_a_packet_of_the_other_direction_overtakes_nothing() -> None:
    one = order(wire(), Rule("reorder", nth={1}, way="out"))
    assert passes(one, 1, "out") == []
    assert passes(one, 2, "in") == [1, 2]
    assert sent(one.decide("out", frame(7), 0)) == [7, 1]


def test_a_duplicated_packet_arrives_as_often_as_is_said() -> None:
    assert passes(order(wire(), Rule("duplicate", nth={1}, amount=2)), 2) == [1, 1, 1, 2]


def test_a_delayed_packet_is_overtaken() -> None:
    one = order(wire(out=Impairment(delay_us=1000)), Rule("delay", nth={1}, amount=3 * MS))
    departures = [*one.decide("out", frame(1), 0), *one.decide("out", frame(2), 1 * MS)]
    assert [(when, data[-1]) for when, data in departures] == [(4 * MS, 1), (2 * MS, 2)]


def test_a_corrupted_packet_differs_in_one_bit() -> None:
    one = order(wire(), Rule("corrupt"))
    ((_when, data),) = one.decide("out", frame(1), 0)
    assert sum((a ^ b).bit_count() for a, b in zip(data, frame(1), strict=True)) == 1


def test_the_same_seed_corrupts_the_same_bit() -> None:
    wires = [order(wire(seed=seed), Rule("corrupt")) for seed in (4, 4, 5)]
    first, again, other = ([one.decide("out", frame(n, 1000), 0) for n in range(5)] for one in wires)
    assert first == again
    assert first != other


def test_a_dropped_packet_is_not_shown_to_the_rules_behind() -> None:
    later = Rule("duplicate", amount=1)
    passes(order(wire(), Rule("drop", nth={1}), later), 3)
    assert later.matched == 2


def test_what_chance_does_is_in_the_log_too() -> None:
    one = wire(out=Impairment(loss=1.0), epoch=1000 * MS)
    passes(one, 1)
    assert [(entry.action, entry.rule, entry.time_ns) for entry in one.log] == [("drop", "loss", 1001 * MS)]


def test_a_wire_that_nobody_reads_the_log_of_keeps_none() -> None:
    one = order(wire(out=Impairment(loss=0.5), keep_log=False), Rule("drop", where=is_even))
    passes(one, 20)
    assert one.log == []


def test_each_direction_draws_for_itself() -> None:
    lossy = Impairment(loss=0.5)
    alone, busy = wire(out=lossy, incoming=lossy), wire(out=lossy, incoming=lossy)
    passes(busy, 50, "in")
    assert passes(alone, 50) == passes(busy, 50)


def test_a_predicate_that_raises_is_told_of_and_goes_and_its_packet_passes() -> None:
    def broken(_packet: Packet) -> bool:
        raise ZeroDivisionError

    errors: list[Exception] = []
    one = order(wire(on_error=errors.append), Rule("drop", where=broken), Rule("drop", nth={2}))
    assert passes(one, 3) == [1, 3]
    assert [type(error) for error in errors] == [ZeroDivisionError]
    with pytest.raises(ZeroDivisionError):
        order(wire(), Rule("drop", where=broken)).decide("out", frame(1), 0)


def test_the_predicates_of_checks_serve_as_they_are() -> None:
    one = order(wire(), Rule("drop", where=tcp.is_syn), Rule("drop", where=arp.is_request))
    assert passes(one, 3) == [1, 2, 3]


def test_an_order_says_what_it_is() -> None:
    assert str(Rule("hold", where=is_even, nth={4, 2}, way="in")) == "hold(is_even, nth=2, 4, in)"


def test_a_link_of_a_lab_that_is_down_says_so() -> None:
    relay = Relay([])
    relay.close()
    with pytest.raises(BackendError, match="went down"):
        Link(wire(), relay).drop()
