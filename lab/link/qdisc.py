"""Requests for queueing disciplines (tc(8)): netem delays, loses and mangles, tbf limits the rate.

They are so few and so plain that they are packed here, by the structs of <linux/pkt_sched.h>.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Literal

from lab.netlink import rtnetlink
from lab.netlink.rtnetlink import Request
from lab.plan.model import Impairment

Kind = Literal["netem", "tbf"]
KINDS: tuple[Kind, ...] = ("netem", "tbf")

_NEWQDISC, _DELQDISC = 36, 37
_REQUEST, _CREATE, _REPLACE = 0x1, 0x400, 0x100
_HEADER = struct.Struct("=IHHII")
_TCMSG = struct.Struct("=BxxxiIII")  # family, interface, handle, parent, info
_ROOT = 0xFFFFFFFF
_NETEM, _TBF, _NETEMS_TBF = 0x1_0000, 0x2_0000, 0x3_0000  # handles 1:, 2: and 3:
_NETEMS_CHILD = _NETEM | 1
_KIND, _OPTIONS = 1, 2
_REORDER, _CORRUPT, _LATENCY64, _JITTER64, _PRNG_SEED = 3, 4, 10, 11, 14
_TBF_PARAMETERS, _TBF_BURST = 1, 6
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET
_EVERY_TIME = 0xFFFFFFFF
_MANY = 100_000  # packets under way; netem's own limit, which is no queue's length here
_SMALLEST_BURST = 2  # frames
_UNKNOWN = {errno.ENOENT, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL}


def known(channel: socket.socket) -> frozenset[Kind]:
    """Return what this kernel has, by putting one of each on the loopback interface and taking it off again."""
    trials: dict[Kind, Request] = {
        "netem": _netem(rtnetlink.LOOPBACK_INDEX, Impairment(delay_us=1), 1),
        "tbf": _tbf(rtnetlink.LOOPBACK_INDEX, Impairment(rate_bit=1_000_000, queue_bytes=10_000), 2000, _ROOT, _TBF),
    }
    found: set[Kind] = set()
    for kind, request in trials.items():
        try:
            rtnetlink.transact(channel, [request])
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
        else:
            found.add(kind)
            take_off(channel, rtnetlink.LOOPBACK_INDEX)
    return frozenset(found)


def put_on(channel: socket.socket, index: int, impairment: Impairment, *, largest: int, seed: int, netem: bool) -> None:
    """Make what leaves the interface of this index subject to the impairment; frames under way stay so.

    Args:
        largest: bytes of the largest frame.
        seed: what netem draws from, where the kernel (6.7) lets one say so.
        netem: whether to use it, and not tbf alone.

    Raises:
        OSError: the kernel refuses.
    """
    if not netem:
        rtnetlink.transact(channel, [_tbf(index, impairment, largest, _ROOT, _TBF)])
        return
    requests = [_netem(index, impairment, seed)]
    if impairment.rate_bit:
        requests.append(_tbf(index, impairment, largest, _NETEMS_CHILD, _NETEMS_TBF))
    rtnetlink.transact(channel, requests)
    if not impairment.rate_bit:
        _delete(channel, index, _NETEMS_CHILD, _NETEMS_TBF)


def take_off(channel: socket.socket, index: int) -> None:
    """Make an interface send at once again; what waits is lost."""
    _delete(channel, index, _ROOT, 0)


def _delete(channel: socket.socket, index: int, parent: int, handle: int) -> None:
    try:
        rtnetlink.transact(channel, [_request(_DELQDISC, 0, index, handle, parent, b"", "no queue")])
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):  # there is none
            raise


def _netem(index: int, impairment: Impairment, seed: int) -> Request:
    """The order of fields and attributes is that of struct tc_netem_qopt and TCA_NETEM_*.

    netem takes a frame out of the sender's account only if it delays, and a sender whose account is full stops:
    hence one nanosecond at the least.
    """
    gap = 1 if impairment.reorder else 0
    options = struct.pack("=6I", 0, _MANY, _share(impairment.loss), gap, _share(impairment.duplicate), 0)
    options += _attribute(_LATENCY64, struct.pack("=q", max(1, impairment.delay_us * 1000)))
    options += _attribute(_JITTER64, struct.pack("=q", impairment.jitter_us * 1000))
    options += _attribute(_REORDER, struct.pack("=II", _share(impairment.reorder), 0))
    options += _attribute(_CORRUPT, struct.pack("=II", _share(impairment.corrupt), 0))
    options += _attribute(_PRNG_SEED, struct.pack("=Q", seed))
    return _new(index, _NETEM, _ROOT, "netem", options)


def _tbf(index: int, impairment: Impairment, largest: int, parent: int, handle: int) -> Request:
    """The burst is a millisecond's worth, and two frames at the least: less, and timers decide about the rate."""
    rate = impairment.rate_bit // 8
    burst = max(rate // 1000, _SMALLEST_BURST * largest)
    speed = struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, rate)
    peak = bytes(len(speed))
    parameters = speed + peak + struct.pack("=III", impairment.queue_bytes, 0, 0)
    options = _attribute(_TBF_PARAMETERS, parameters) + _attribute(_TBF_BURST, struct.pack("=I", burst))
    return _new(index, handle, parent, "tbf", options)


def _new(index: int, handle: int, parent: int, kind: Kind, options: bytes) -> Request:
    attributes = _attribute(_KIND, kind.encode() + b"\0") + _attribute(_OPTIONS, options)
    return _request(_NEWQDISC, _CREATE | _REPLACE, index, handle, parent, attributes, kind)


def _request(kind: int, flags: int, index: int, handle: int, parent: int, attributes: bytes, what: str) -> Request:
    body = _TCMSG.pack(0, index, handle, parent, 0) + attributes
    return Request(_HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, 0, 0) + body, what)


def _attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def _share(probability: float) -> int:
    return round(probability * _EVERY_TIME)
