"""Frames that bridges do not pass on (nftables, family bridge), for the calling thread's network namespace.

The filter sits where a bridge has chosen the ports that a frame leaves by, so it knows both ends: a broadcast
reaches all ports but those that it is kept from. Ports are known by name, so that one that is replaced, while
frames are dropped, stays what it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

from lab.errors import NotSupportedError
from lab.netlink import nftables
from lab.netlink.nftables import (
    DELTABLE,
    NEWCHAIN,
    NEWRULE,
    NEWSET,
    NEWSETELEM,
    NEWTABLE,
    attribute,
    nested,
    number,
    text,
)

Ports = Collection[str]  # interface names

_FORWARD = 2  # NF_BR_FORWARD
_IN, _OUT = 6, 7  # NFT_META_IIFNAME, NFT_META_OIFNAME: a frame's ports
_REGISTER, _VERDICT_REGISTER = 1, 0
_DROP = 0
_INTERFACE_NAME, _NAME_SIZE = 41, 16  # the type is for those who read `nft list ruleset`
_ELEMENTS_A_MESSAGE = 1000  # an attribute is at most 64 KiB
_TABLE, _CHAIN = "lab", "cuts"


def drop(silent: Ports, apart: Iterable[tuple[Ports, Ports]]) -> None:
    """Drop every frame from or to the `silent` ports, and every frame from one side of a pair to its other.

    This replaces what was asked for before, all at once; with nothing to drop no filter is left.

    Raises:
        NotSupportedError: this kernel cannot filter on bridges.
        OSError: it refuses for another reason.
    """
    try:
        nftables.commit(nftables.BRIDGE, [_table(NEWTABLE), _table(DELTABLE), *_filter(silent, apart)])
    except OSError as error:
        if error.errno in nftables.MISSING:
            msg = "this kernel has no nftables for bridges, which cuts need: CONFIG_NF_TABLES_BRIDGE"
            raise NotSupportedError(msg) from error
        raise


def _filter(silent: Ports, apart: Iterable[tuple[Ports, Ports]]) -> list[tuple[int, bytes]]:
    """Return the messages of the whole filter: a set for each group of ports, a rule for each direction."""
    sets: list[Ports] = []
    rules: list[tuple[tuple[int, int], ...]] = []  # (what is looked at, number of the set it must be in)
    if silent:
        sets.append(silent)
        rules += [((_IN, 0),), ((_OUT, 0),)]
    for one, other in apart:
        first = len(sets)
        sets += [one, other]
        rules += [((_IN, first), (_OUT, first + 1)), ((_IN, first + 1), (_OUT, first))]
    if not rules:
        return []
    return [
        _table(NEWTABLE),
        _chain(),
        *chain.from_iterable(_set(group, ports) for group, ports in enumerate(sets)),
        *(_rule(conditions) for conditions in rules),
    ]


def _table(kind: int) -> tuple[int, bytes]:
    return kind, text(1, _TABLE)


def _chain() -> tuple[int, bytes]:
    hook = nested(4, number(1, _FORWARD), number(2, 0))
    return NEWCHAIN, text(1, _TABLE) + text(3, _CHAIN) + hook + text(7, "filter")


def _set(group: int, ports: Ports) -> Iterator[tuple[int, bytes]]:
    name = text(1, _TABLE) + text(2, _set_name(group))
    key = number(4, _INTERFACE_NAME) + number(5, _NAME_SIZE)
    yield NEWSET, name + number(3, 0) + key + number(10, group + 1)
    names = sorted(ports)
    for start in range(0, len(names), _ELEMENTS_A_MESSAGE):
        elements = [
            nested(1, nested(1, attribute(1, one.encode().ljust(_NAME_SIZE, b"\0"))))
            for one in names[start : start + _ELEMENTS_A_MESSAGE]
        ]
        yield NEWSETELEM, name + number(4, group + 1) + nested(3, *elements)


def _rule(conditions: Sequence[tuple[int, int]]) -> tuple[int, bytes]:
    """Return a rule that drops what meets all conditions."""
    expressions = []
    for looked_at, group in conditions:
        expressions += [
            _expression("meta", number(1, _REGISTER), number(2, looked_at)),
            _expression("lookup", text(1, _set_name(group)), number(2, _REGISTER), number(4, group + 1)),
        ]
    verdict = nested(2, nested(2, number(1, _DROP)))
    expressions.append(_expression("immediate", number(1, _VERDICT_REGISTER), verdict))
    return NEWRULE, text(1, _TABLE) + text(2, _CHAIN) + nested(4, *expressions)


def _expression(name: str, *data: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *data))


def _set_name(group: int) -> str:
    return f"group{group}"
