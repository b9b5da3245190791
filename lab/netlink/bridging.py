"""Frames that bridges do not pass on (nftables, family bridge), for the calling thread's network namespace.

The filter sits where a bridge has chosen the ports that a frame leaves by, so it knows both ends: a broadcast
reaches all ports but those that it is kept from. Ports are known by name, so that one that is replaced, while
frames are dropped, stays what it was. Messages are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

from lab.errors import NotSupportedError

Ports = Collection[str]  # interface names

_NETLINK_NETFILTER = 12
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NF_TABLES = 10  # the subsystem; a message's type is subsystem << 8 | kind
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _NEWSET, _NEWSETELEM = 0, 2, 3, 6, 9, 12
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_NLMSG_ERROR = 2
_BRIDGE = 7  # NFPROTO_BRIDGE
_FORWARD = 2  # NF_BR_FORWARD
_IN, _OUT = 6, 7  # NFT_META_IIFNAME, NFT_META_OIFNAME: a frame's ports
_REGISTER, _VERDICT_REGISTER = 1, 0
_DROP = 0
_INTERFACE_NAME, _NAME_SIZE = 41, 16  # the type is for those who read `nft list ruleset`
_ELEMENTS_A_MESSAGE = 1000  # an attribute is at most 64 KiB
_NESTED = 0x8000
_MISSING = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT)
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("!BBH")  # struct nfgenmsg
_TABLE, _CHAIN = "lab", "cuts"


def drop(silent: Ports, apart: Iterable[tuple[Ports, Ports]]) -> None:
    """Drop every frame from or to the `silent` ports, and every frame from one side of a pair to its other.

    This replaces what was asked for before, all at once; with nothing to drop no filter is left.

    Raises:
        NotSupportedError: this kernel cannot filter on bridges.
        OSError: it refuses for another reason.
    """
    messages = [_table(_NEWTABLE), _table(_DELTABLE), *_filter(silent, apart)]
    data = [_message(_BATCH_BEGIN, 0, _NF_TABLES, b"")]
    data += [
        _message(_NF_TABLES << 8 | kind, _CREATE | (_ACK if number == len(messages) else 0), number, body)
        for number, (kind, body) in enumerate(messages, 1)
    ]
    data.append(_message(_BATCH_END, 0, _NF_TABLES, b""))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as channel:
        channel.bind((0, 0))
        try:
            channel.sendall(b"".join(data))
            _await(channel, len(messages))
        except OSError as error:
            if error.errno in _MISSING:
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
        _table(_NEWTABLE),
        _chain(),
        *chain.from_iterable(_set(number, ports) for number, ports in enumerate(sets)),
        *(_rule(conditions) for conditions in rules),
    ]


def _table(kind: int) -> tuple[int, bytes]:
    return kind, _text(1, _TABLE)


def _chain() -> tuple[int, bytes]:
    hook = _nested(4, _number(1, _FORWARD), _number(2, 0))
    return _NEWCHAIN, _text(1, _TABLE) + _text(3, _CHAIN) + hook + _text(7, "filter")


def _set(number: int, ports: Ports) -> Iterator[tuple[int, bytes]]:
    name = _text(1, _TABLE) + _text(2, _set_name(number))
    key = _number(4, _INTERFACE_NAME) + _number(5, _NAME_SIZE)
    yield _NEWSET, name + _number(3, 0) + key + _number(10, number + 1)
    names = sorted(ports)
    for start in range(0, len(names), _ELEMENTS_A_MESSAGE):
        elements = [
            _nested(1, _nested(1, _attribute(1, one.encode().ljust(_NAME_SIZE, b"\0"))))
            for one in names[start : start + _ELEMENTS_A_MESSAGE]
        ]
        yield _NEWSETELEM, name + _number(4, number + 1) + _nested(3, *elements)


def _rule(conditions: Sequence[tuple[int, int]]) -> tuple[int, bytes]:
    """Return a rule that drops what meets all conditions."""
    expressions = []
    for looked_at, number in conditions:
        expressions += [
            _expression("meta", _number(1, _REGISTER), _number(2, looked_at)),
            _expression("lookup", _text(1, _set_name(number)), _number(2, _REGISTER), _number(4, number + 1)),
        ]
    verdict = _nested(2, _nested(2, _number(1, _DROP)))
    expressions.append(_expression("immediate", _number(1, _VERDICT_REGISTER), verdict))
    return _NEWRULE, _text(1, _TABLE) + _text(2, _CHAIN) + _nested(4, *expressions)


def _expression(name: str, *data: bytes) -> bytes:
    return _nested(1, _text(1, name), _nested(2, *data))


def _set_name(number: int) -> str:
    return f"group{number}"


def _attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def _nested(kind: int, *attributes: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(attributes))


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("!I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    """Return a message; the number is its sequence number, and for those around a batch the batch's subsystem."""
    around = kind in (_BATCH_BEGIN, _BATCH_END)
    family = _FAMILY.pack(0 if around else _BRIDGE, 0, number if around else 0)
    data = family + body
    return _HEADER.pack(_HEADER.size + len(data), kind, flags | _REQUEST, 0 if around else number, 0) + data


def _await(channel: socket.socket, last: int) -> None:
    """Read up to the answer to the last message, and raise the first refusal."""
    refusal = 0
    while True:
        datagram = channel.recv(1 << 17)
        offset = 0
        while offset + _HEADER.size <= len(datagram):
            length, kind, _flags, number, _port = _HEADER.unpack_from(datagram, offset)
            if kind == _NLMSG_ERROR:
                (negative_errno,) = struct.unpack_from("=i", datagram, offset + _HEADER.size)
                refusal = refusal or -negative_errno
                if number in (0, last):
                    if refusal:
                        raise OSError(refusal, f"bridge filter: {os.strerror(refusal)}")
                    return
            offset += (length + 3) & ~3
