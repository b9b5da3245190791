"""Batched rtnetlink (rtnetlink(7)): one send carries a hundred messages.

The builders return encoded requests; `transact` numbers, sends and checks them. A batch costs one
system call each way, where a call per message costs a hundred. The numbers are those of <linux/rtnetlink.h>
and its kin; they are few, and a library that knows all of them would be most of what a lab's owner weighs.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from lab.netlink import message, prefix
from lab.netlink.message import attribute, number, text
from lab.netlink.prefix import Prefix

_NEWLINK, _GETLINK, _NEWADDR, _DELADDR, _GETADDR, _NEWROUTE = 16, 18, 20, 21, 22, 24
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # struct rtmsg: family, two prefix lengths, TOS, table, protocol, scope, type, flags
_ERROR = struct.Struct("=i")

# IFLA_*
_MAC, _NAME, _MTU, _LINK_OF, _MASTER, _QUEUE, _STATE, _INFO = 1, 3, 4, 5, 10, 13, 16, 18
_NAMESPACE, _TX_QUEUES, _RX_QUEUES, _CARRIER = 28, 31, 32, 33
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_BRIDGE_DELAY, _BRIDGE_STP, _BRIDGE_SNOOPING = 1, 5, 23
_UP, _RUNNING = 0x1, 0x40  # IFF_UP, IFF_RUNNING
_STATE_UP = b"\x06"  # IF_OPER_UP
LOOPBACK_INDEX = 1

# IFA_* and RTA_*
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_NO_DAD = 0x02  # IFA_F_NODAD: usable at once; a lab has no stranger to clash with
_NO_BROADCAST = 31  # RFC 3021: a /31 has no broadcast address
_TO, _OUT_OF, _GATEWAY, _PRIORITY, _SOURCE, _METRICS, _CONGESTION_CONTROL = 1, 4, 5, 6, 7, 8, 16
_SCOPE_UNIVERSE, _SCOPE_LINK, _TABLE_MAIN, _UNICAST, _BY_KERNEL, _BY_ADMIN = 0, 253, 254, 1, 2, 4
_CONNECTED_PRIORITY_IPV6 = 256  # IP6_RT_PRIO_ADDRCONF

_CHUNK = 100  # requests a send: some 20 kB, and as many refusals fit the smallest receive buffer
_SOL_NETLINK, _CAP_ACK = 270, 10
# A pair is born with as many queues as the machine may have processors, and the kernel takes away all but one again.
_ONE_QUEUE = number(_TX_QUEUES, 1) + number(_RX_QUEUES, 1)


@dataclass(frozen=True, slots=True)
class Request:
    """One encoded message and what it does, in words for an error."""

    data: bytes
    what: str


def open_socket() -> socket.socket:
    """Return an rtnetlink socket in the calling thread's network namespace; it stays there."""
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    channel.bind((0, 0))
    channel.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)  # a refusal need not repeat the request
    return channel


def transact(channel: socket.socket, requests: Sequence[Request]) -> None:
    """Send the requests and wait until the kernel has dealt with all of them.

    Only the last of a batch asks for an acknowledgement: a refusal comes without being asked for. The kernel
    goes on behind a refused request, so everything is read before an error is raised.

    Raises:
        OSError: the first refusal; the message says which request, and the kernel's reason.
    """
    for start in range(0, len(requests), _CHUNK):
        chunk = requests[start : start + _CHUNK]
        last = len(chunk) - 1
        numbered = (_numbered(request.data, sequence, ack=sequence == last) for sequence, request in enumerate(chunk))
        channel.sendall(b"".join(numbered))
        refusals = list(_refusals(channel, last))
        if refusals:
            sequence, code = refusals[0]
            raise OSError(code, f"{chunk[sequence].what}: {os.strerror(code)}")


def _numbered(data: bytes, sequence: int, *, ack: bool) -> bytes:
    length, kind, flags, _sequence, _port = message.HEADER.unpack_from(data)
    header = message.HEADER.pack(length, kind, flags | (message.ACK if ack else 0), sequence, 0)
    return header + data[message.HEADER.size :]


def _refusals(channel: socket.socket, last: int) -> Iterator[tuple[int, int]]:
    """Yield (number of the request, errno) of every refusal up to the answer to the last request."""
    while True:
        for kind, sequence, body in message.messages(channel.recv(1 << 17)):
            if kind != message.ERROR:
                continue
            (negative_errno,) = _ERROR.unpack_from(body)
            if negative_errno:
                yield sequence, -negative_errno
            if sequence == last:
                return


def _dump(channel: socket.socket, kind: int, fixed: bytes) -> Iterator[bytes]:
    """Yield the body of everything of a kind that the channel's namespace has."""
    channel.sendall(message.message(kind, message.REQUEST | message.DUMP, fixed))
    while True:
        for answer, _sequence, body in message.messages(channel.recv(1 << 17)):
            if answer == message.DONE:
                return
            yield body


def all_running(channel: socket.socket, *, but: frozenset[int]) -> bool:
    """Whether every interface of the channel's namespace, `lo` and those indexes apart, can carry packets now.

    A veth's carrier and a bridge port's forwarding come a moment after both ends are up.
    """
    return all(running for index, running in _states(channel) if index != LOOPBACK_INDEX and index not in but)


def are_running(channel: socket.socket, indexes: Collection[int]) -> bool:
    """Whether these interfaces of the channel's namespace can carry packets now."""
    return all(running for index, running in _states(channel) if index in indexes)


def _states(channel: socket.socket) -> list[tuple[int, bool]]:
    """Return (index, whether it can carry packets) of every interface."""
    found = []
    for body in _dump(channel, _GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
        _family, _type, index, flags, _change = _LINK.unpack_from(body)
        found.append((index, bool(flags & _RUNNING) and _has_learnt_of_carrier(body[_LINK.size :])))
    return found


def _has_learnt_of_carrier(attributes: bytes) -> bool:
    """Whether the kernel has dealt with the carrier of a link.

    A veth that has not been told counts as running all the same, its state being unknown; its queue drops
    everything until then. Of a TAP device, which has no other end, the state may stay unknown.
    """
    return message.find(attributes, _STATE) == _STATE_UP or not message.find(attributes, _LINK_OF)


def bridge(name: str, mtu: int) -> Request:
    """A bridge, down, that forwards at once and asks nobody anything: no spanning tree, no multicast snooping.

    It is to come up after its ports: an open bridge looks at all of them whenever one changes.
    """
    settings = number(_BRIDGE_STP, 0), number(_BRIDGE_DELAY, 0), attribute(_BRIDGE_SNOOPING, b"\0")
    info = attribute(_INFO, text(_INFO_KIND, "bridge"), attribute(_INFO_DATA, *settings))
    return _new_link(f"bridge {name}", 0, text(_NAME, name), number(_MTU, mtu), info)


def veth(*, port: str, bridge_index: int, peer: str, peer_namespace: int, mac: str, mtu: int, port_mtu: int) -> Request:
    """A veth pair: `port` here, up and on the bridge; `peer` born, down, in the namespace of that descriptor."""
    far_end = attribute(
        _VETH_PEER,
        _LINK.pack(0, 0, 0, 0, 0),
        text(_NAME, peer),
        attribute(_MAC, _mac(mac)),
        number(_MTU, mtu),
        number(_NAMESPACE, peer_namespace),
        _ONE_QUEUE,
    )
    return _new_link(
        f"interface {peer} ({port})",
        _UP,
        text(_NAME, port),
        number(_MTU, port_mtu),
        number(_MASTER, bridge_index),
        _ONE_QUEUE,
        attribute(_INFO, text(_INFO_KIND, "veth"), attribute(_INFO_DATA, far_end)),
    )


def _new_link(what: str, flags: int, *attributes: bytes) -> Request:
    body = _LINK.pack(0, 0, 0, flags, flags) + b"".join(attributes)
    return Request(message.message(_NEWLINK, message.REQUEST | message.CREATE | message.EXCLUSIVE, body), what)


def up(index: int, name: str) -> Request:
    """Bring an interface up."""
    return _changed_link(index, f"{name} up", is_up=True)


def down(index: int, name: str) -> Request:
    """Take an interface down: its routes go with it, and its IPv6 addresses."""
    return _changed_link(index, f"{name} down", is_up=False)


def carrier(index: int, name: str, *, there: bool) -> Request:
    """Give an interface its carrier or take it away; only some drivers let themselves be told (TAP devices do)."""
    return _changed_link(index, f"{name} carrier", attribute(_CARRIER, bytes([there])))


def change(
    index: int,
    name: str,
    *,
    new_name: str = "",
    mac: str = "",
    mtu: int = 0,
    queue: int = 0,
    bridge_index: int = 0,
    is_up: bool | None = None,
) -> Request:
    """Change an interface, in what is given only; a name and a MAC address while it is down.

    Args:
        queue: packets that wait to be sent at the most.
        bridge_index: that of the bridge that it becomes a port of.
    """
    attributes = (
        text(_NAME, new_name) if new_name else b"",
        attribute(_MAC, _mac(mac)) if mac else b"",
        *(number(kind, value) for kind, value in ((_MTU, mtu), (_QUEUE, queue), (_MASTER, bridge_index)) if value),
    )
    return _changed_link(index, f"interface {name}", *attributes, is_up=is_up)


def _changed_link(index: int, what: str, *attributes: bytes, is_up: bool | None = None) -> Request:
    fixed = _LINK.pack(0, 0, index, _UP if is_up else 0, 0 if is_up is None else _UP)
    return Request(message.message(_NEWLINK, message.REQUEST, fixed + b"".join(attributes)), what)


def address(index: int, with_prefix: str) -> Request:
    """Add an address ("10.0.1.10/24") to the interface of this index, with its broadcast address."""
    own = prefix.parse(with_prefix)
    is_ipv4 = own.family == socket.AF_INET
    attributes = [
        attribute(_IFA_LOCAL, own.address),
        attribute(_IFA_ADDRESS, own.address),
        number(_IFA_FLAGS, 0 if is_ipv4 else _NO_DAD),
    ]
    if is_ipv4 and own.length < _NO_BROADCAST:
        attributes.append(attribute(_IFA_BROADCAST, own.last()))
    body = _ADDRESS.pack(own.family, own.length, 0, _SCOPE_UNIVERSE, index) + b"".join(attributes)
    flags = message.REQUEST | message.CREATE | message.EXCLUSIVE
    return Request(message.message(_NEWADDR, flags, body), f"address {with_prefix}")


def address_removals(channel: socket.socket) -> list[Request]:
    """Return what removes each address that the channel's namespace has now, but for those of `lo`."""
    found = []
    for body in _dump(channel, _GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
        _family, _length, _flags, _scope, index = _ADDRESS.unpack_from(body)
        if index != LOOPBACK_INDEX:
            found.append(Request(message.message(_DELADDR, message.REQUEST, body), "removal of an address"))
    return found


def connected_route(index: int, with_prefix: str, congestion_control: str) -> Request:
    """Put TCP's congestion control on the route to an address' own network, which the kernel has made with it."""
    own = prefix.parse(with_prefix)
    is_ipv4 = own.family == socket.AF_INET
    known_by = attribute(_SOURCE, own.address) if is_ipv4 else number(_PRIORITY, _CONNECTED_PRIORITY_IPV6)
    attributes = known_by + number(_OUT_OF, index) + _pinned(congestion_control)
    return _route(f"route to the network of {with_prefix}", own, _BY_KERNEL, _SCOPE_LINK, message.REPLACE, attributes)


def route(index: int, to: str, via: str, congestion_control: str = "") -> Request:
    """Add a route to the prefix `to` by the next hop `via` out of the interface of this index.

    Args:
        congestion_control: the algorithm of TCP connections by this route; empty for the namespace's own.
    """
    _family, hop = prefix.packed(via)
    attributes = attribute(_GATEWAY, hop) + number(_OUT_OF, index) + _pinned(congestion_control)
    what = f"route {to} via {via}"
    return _route(what, prefix.parse(to), _BY_ADMIN, _SCOPE_UNIVERSE, message.EXCLUSIVE, attributes)


def _route(what: str, to: Prefix, protocol: int, scope: int, flags: int, attributes: bytes) -> Request:
    fixed = _ROUTE.pack(to.family, to.length, 0, 0, _TABLE_MAIN, protocol, scope, _UNICAST, 0)
    if to.length:
        attributes += attribute(_TO, to.first())
    flags |= message.REQUEST | message.CREATE
    return Request(message.message(_NEWROUTE, flags, fixed + attributes), what)


def _pinned(congestion_control: str) -> bytes:
    return attribute(_METRICS, text(_CONGESTION_CONTROL, congestion_control)) if congestion_control else b""


def _mac(written: str) -> bytes:
    return bytes.fromhex(written.replace(":", ""))
