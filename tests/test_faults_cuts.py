"""What a cut is of, and which cuts are in force: pure."""

from __future__ import annotations

import pytest

from lab.errors import UsageError
from lab.faults.cuts import Cuts, cut_of
from lab.faults.model import Fault
from lab.faults.places import Extent, extent, interfaces

# a and b on lan, b and c on dmz, d on neither; "twin" is the name of a node and of a network.
WIRING = {
    "a": {"eth0": "lan"},
    "b": {"eth0": "lan", "eth1": "dmz"},
    "c": {"eth0": "dmz"},
    "d": {},
    "twin": {"eth0": "twin"},
}


def cuts(*targets: tuple[str, ...]) -> Cuts:
    made = Cuts()
    for words in targets:
        made = made.adding(cut_of(WIRING, Fault("cut", words)))
    return made


def between(*sides: set[tuple[str, str]]) -> frozenset[frozenset[frozenset[tuple[str, str]]]]:
    return frozenset({frozenset(map(frozenset, sides))})


@pytest.mark.parametrize(
    ("targets", "places"),
    [
        (("b:eth1",), {("b", "eth1")}),
        (("b",), {("b", "eth0"), ("b", "eth1")}),
        (("lan",), {("a", "eth0"), ("b", "eth0")}),
        (("b", "dmz"), {("b", "eth1")}),
        (("dmz", "b"), {("b", "eth1")}),
        (("a,c",), {("a", "eth0"), ("c", "eth0")}),
    ],
)
def test_one_target_or_a_node_and_a_network_mean_whole_interfaces(
    targets: tuple[str, ...], places: set[tuple[str, str]]
) -> None:
    assert extent(WIRING, targets) == Extent(whole=frozenset(places))


def test_two_nodes_mean_what_is_between_them_where_they_share_a_network() -> None:
    assert extent(WIRING, ("a", "b")) == Extent(between=between({("a", "eth0")}, {("b", "eth0")}))
    assert extent(WIRING, ("b", "a")) == extent(WIRING, ("a", "b")) == extent(WIRING, ("b:eth0", "a"))
    assert extent(WIRING, ("a,c", "b")) == Extent(
        between=between({("a", "eth0"), ("c", "eth0")}, {("b", "eth0"), ("b", "eth1")})
    )


def test_three_groups_are_kept_apart_two_by_two() -> None:
    assert extent(WIRING, ("a", "b", "c")) == Extent(
        between=between({("a", "eth0")}, {("b", "eth0")}) | between({("b", "eth1")}, {("c", "eth0")})
    )


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("cut", ("z",)), 'no node or network named "z"; there are nodes a, b, c, d, twin and networks dmz, lan'),
        (Fault("cut", ("a:eth7",)), 'no interface "eth7" in "a"; it has eth0'),
        (Fault("cut", ("z:eth0",)), 'no node or network named "z:eth0"'),
        (Fault("cut", ("d",)), '"d" is on no network, so there is nothing to cut'),
        (Fault("cut", ("twin",)), '"twin" is both a node and a network; name interfaces, like twin:eth0'),
        (Fault("cut", ("a", "dmz")), "a and dmz do not meet: the node is not on that network"),
        (Fault("cut", ("a", "c")), "a and c share no network, so nothing passes between them but by routers"),
        (Fault("cut", ("a,b", "b")), '"b" is on both sides (a,b and b)'),
        (Fault("cut", ("lan", "dmz")), '"lan" is a network; a cut between groups names nodes'),
        (Fault("cut", ()), "nothing is named; name an interface like client:eth0, a node"),
        (Fault("cut", ("a", "b"), carrier=True), "a b: a carrier is an interface's"),
        (Fault("partition", ("a,b",)), "found one group, a,b; a partition is between two at least"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(fault: Fault, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        cut_of(WIRING, fault)
    assert message in str(refusal.value)


def test_the_same_cut_in_other_words_is_the_same() -> None:
    once = cuts(("a", "b"))
    assert once.adding(cut_of(WIRING, Fault("cut", ("b", "a")))) is once
    assert once.restoring(cut_of(WIRING, Fault("restore", ("b:eth0", "a:eth0")))) == Cuts()


def test_a_cut_gains_its_carrier_part_when_it_is_asked_for_again_with_it() -> None:
    made = cuts(("a",)).adding(cut_of(WIRING, Fault("cut", ("a",), carrier=True)))
    assert len(made.active) == 1
    assert made.without_carrier == {("a", "eth0")}


def test_overlapping_cuts_are_restored_one_by_one() -> None:
    both = cuts(("lan",), ("a",))
    left = both.restoring(cut_of(WIRING, Fault("restore", ("a",))))
    assert left == cuts(("lan",))
    assert left.silent == {("a", "eth0"), ("b", "eth0")}


@pytest.mark.parametrize(
    ("cut", "restored"),
    [
        (("lan",), ("a",)),
        (("a",), ("lan",)),
        (("a", "b"), ("a",)),
        (("a",), ("a", "b")),
        (("a,c", "b"), ("a", "b")),
        (("a,c", "b"), ("b", "c")),
    ],
)
def test_a_restore_that_would_restore_nothing_says_which_cut_is_in_its_way(
    cut: tuple[str, ...], restored: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as refusal:
        cuts(cut).restoring(cut_of(WIRING, Fault("restore", restored)))
    assert str(refusal.value) == f'"{" ".join(restored)}" is not what was cut; restore what was: "{" ".join(cut)}"'


@pytest.mark.parametrize(("cut", "restored"), [(("a",), ("c",)), (("a", "b"), ("b", "c")), (("a", "b"), ("c",))])
def test_a_restore_of_what_is_whole_changes_nothing(cut: tuple[str, ...], restored: tuple[str, ...]) -> None:
    made = cuts(cut)
    assert made.restoring(cut_of(WIRING, Fault("restore", restored))) == made


def test_interfaces_to_impair_are_those_of_nodes() -> None:
    assert interfaces(WIRING, "b,a") == [("a", "eth0"), ("b", "eth0"), ("b", "eth1")]
    assert interfaces(WIRING, "b:eth1") == [("b", "eth1")]
    with pytest.raises(UsageError, match='no node named "lan"'):
        interfaces(WIRING, "lan")
