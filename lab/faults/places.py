"""Where a cut is: the words of a person turned into interfaces.

    client        all interfaces of a node        client:eth0   one of them
    lan           all interfaces on a network     client lan    a node's interface on a network
    client web    between two nodes, wherever they share a network; other traffic of theirs passes
    a,b c,d       between groups: none of one reaches any of another

A cut between two is of both directions, and of broadcasts too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

from lab.errors import UsageError

Place = tuple[str, str]  # node, interface
Places = frozenset[Place]
Wiring = Mapping[str, Mapping[str, str]]  # node to interface to network


@dataclass(frozen=True, slots=True)
class Extent:
    """What a cut takes away; two ways to say the same make equal extents.

    Attributes:
        whole: interfaces that nothing leaves or enters.
        between: pairs of groups: nothing passes from one to the other, either way.
    """

    whole: Places = frozenset()
    between: frozenset[frozenset[Places]] = frozenset()

    def keeps_down(self, wanted: Extent) -> bool:
        """Whether some of the traffic that `wanted` is about cannot pass because of this."""
        ends = wanted.whole.union(*(group for pair in wanted.between for group in pair))
        return (
            bool(self.whole & ends)
            or any(group & wanted.whole for pair in self.between for group in pair)
            or any(_meet(pair, other) for pair in self.between for other in wanted.between)
        )


def extent(wiring: Wiring, targets: tuple[str, ...]) -> Extent:
    """Return what these targets mean; see the top of this file.

    Raises:
        UsageError: nothing is named, the lab does not have it, or groups share no network.
    """
    networks = {network for own in wiring.values() for network in own.values()}
    if not targets:
        raise UsageError("nothing is named; name an interface like client:eth0, a node, a network, or two nodes")
    if len(targets) == 1:
        return Extent(whole=_places(wiring, networks, targets[0]))
    if len(targets) == 2 and sum(_is_network(wiring, networks, target) for target in targets) == 1:  # noqa: PLR2004
        first, second = (_places(wiring, networks, target) for target in targets)
        if not first & second:
            raise UsageError(f"{targets[0]} and {targets[1]} do not meet: the node is not on that network")
        return Extent(whole=first & second)
    for target in targets:
        if _is_network(wiring, networks, target):
            raise UsageError(f'"{target}" is a network; a cut between groups names nodes, like a,b c')
    groups = {target: _places(wiring, networks, target) for target in targets}
    return Extent(between=_between(wiring, groups, targets))


def interfaces(wiring: Wiring, target: str) -> list[Place]:
    """Return the interfaces that "NODE", "NODE:INTERFACE" or several of both mean, in the wiring's order.

    Raises:
        UsageError: there is no such node or interface.
    """
    for word in target.split(","):
        node = word.partition(":")[0]
        if node not in wiring:
            raise UsageError(f'no node named "{node}"; there are {", ".join(wiring)}')
    found = _places(wiring, (), target)
    return [(node, one) for node, own in wiring.items() for one in own if (node, one) in found]


def _between(wiring: Wiring, groups: Mapping[str, Places], targets: tuple[str, ...]) -> frozenset[frozenset[Places]]:
    pairs = set()
    for one, other in combinations(targets, 2):
        common = groups[one] & groups[other]
        if common:
            raise UsageError(f'"{min(common)[0]}" is on both sides ({one} and {other}); a cut is between two')
        shared = _networks(wiring, groups[one]) & _networks(wiring, groups[other])
        if shared:
            pairs.add(frozenset(_on(wiring, groups[side], shared) for side in (one, other)))
    if not pairs:
        raise UsageError(f"{' and '.join(targets)} share no network, so nothing passes between them but by routers")
    return frozenset(pairs)


def _places(wiring: Wiring, networks: Iterable[str], target: str) -> Places:
    return frozenset(place for word in target.split(",") for place in _word(wiring, networks, word))


def _word(wiring: Wiring, networks: Iterable[str], word: str) -> list[Place]:
    name, colon, interface = word.partition(":")
    if name in wiring and colon:
        if interface not in wiring[name]:
            raise UsageError(f'no interface "{interface}" in "{name}"; it has {", ".join(wiring[name]) or "none"}')
        return [(name, interface)]
    if word in wiring:
        if word in networks:
            raise UsageError(f'"{word}" is both a node and a network; name interfaces, like {word}:eth0')
        if not wiring[word]:
            raise UsageError(f'"{word}" is on no network, so there is nothing to cut')
        return [(word, one) for one in wiring[word]]
    if word in networks:
        return [(node, one) for node, found in wiring.items() for one, network in found.items() if network == word]
    raise UsageError(
        f'no node or network named "{word}"; there are nodes {", ".join(wiring)} '
        f"and networks {', '.join(sorted(networks)) or 'none'}"
    )


def _is_network(wiring: Wiring, networks: Iterable[str], target: str) -> bool:
    return target in networks and target not in wiring


def _networks(wiring: Wiring, places: Places) -> set[str]:
    return {wiring[node][interface] for node, interface in places}


def _on(wiring: Wiring, places: Places, networks: set[str]) -> Places:
    return frozenset((node, interface) for node, interface in places if wiring[node][interface] in networks)


def _meet(pair: frozenset[Places], other: frozenset[Places]) -> bool:
    """Whether something that passes between the groups of one pair passes between those of the other too."""
    (a, b), (c, d) = tuple(pair), tuple(other)
    return bool((a & c and b & d) or (a & d and b & c))
