"""Batched rtnetlink (rtnetlink(7)): pyroute2 encodes the messages, one send carries hundreds of them.

The builders return encoded requests; `transact` numbers, sends and checks them. A batch costs one
system call each way, where a call per message costs a hundred.
"""

from __future__ import annotations

import functools
import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from typing import Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _DELADDR, _GETADDR, _NEWROUTE = 16, 17, 18, 20, 21, 22, 24
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP, _REPLACE, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x200, 0x400
_UP = 1
LOOPBACK_INDEX = 1
_SCOPE_UNIVERSE, _SCOPE_LINK, _TABLE_MAIN, _UNICAST, _BY_KERNEL, _BY_ADMIN = 0, 253, 254, 1, 2, 4
_CONNECTED_PRIORITY_IPV6 = 256  # IP6_RT_PRIO_ADDRCONF
_NO_DAD = 0x02  # IFA_F_NODAD: usable at once; a lab has no stranger to clash with
_NO_BROADCAST = 31  # RFC 3021: a /31 has no broadcast address
_IPV6 = 6
_HEADER = struct.Struct("=IHHII")
_ERROR = struct.Struct("=i")
_LINK = struct.Struct("=BxHiII")  # the fixed part of struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_RUNNING = 0x40  # IFF_RUNNING
_ATTRIBUTE = struct.Struct("=HH")
_IFLA_LINK, _IFLA_OPERSTATE, _STATE_UP = 5, 16, b"\x06"  # IF_OPER_UP
# A pair is born with as many queues as the machine may have processors, and the kernel takes away all but one again.
_ONE_QUEUE = (("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1))
_REMEMBERED = 1000  # requests that are the same for all nodes of a network, and take time to encode
# Placeholders that occur nowhere else in a message.
_ANY_NAME = "~any interface~"  # as long as a name can be
_ANY_MAC = "fe:dc:ba:98:76:54"
_ANY_MAC_BYTES = bytes.fromhex(_ANY_MAC.replace(":", ""))
_ANY_ADDRESS: dict[int, IPv4Address | IPv6Address] = {
    4: IPv4Address("254.220.186.152"),
    6: IPv6Address("fedc:ba98:7654:3210:fedc:ba98:7654:3210"),
}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY_DESCRIPTOR = 0x7EDCBA98
_CHUNK = 100  # requests a send: some 20 kB, and as many refusals fit the smallest receive buffer
_SOL_NETLINK, _CAP_ACK = 270, 10


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
        numbered = (_numbered(request.data, number, ack=number == last) for number, request in enumerate(chunk))
        channel.sendall(b"".join(numbered))
        refusals = list(_refusals(channel, last))
        if refusals:
            number, code = refusals[0]
            raise OSError(code, f"{chunk[number].what}: {os.strerror(code)}")


def _refusals(channel: socket.socket, last: int) -> Iterator[tuple[int, int]]:
    """Yield (number of the request, errno) of every refusal up to the answer to the last request."""
    while True:
        for kind, number, body in _messages(channel.recv(1 << 17)):
            if kind != _NLMSG_ERROR:
                continue
            (negative_errno,) = _ERROR.unpack_from(body)
            if negative_errno:
                yield number, -negative_errno
            if number == last:
                return


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
    header = {"type": _GETLINK, "flags": _REQUEST | _DUMP}
    channel.sendall(_encode(ifinfmsg(), header, {}))
    found: list[tuple[int, bool]] = []
    while True:
        for kind, _number, body in _messages(channel.recv(1 << 17)):
            if kind == _NLMSG_DONE:
                return found
            _family, _type, index, flags, _change = _LINK.unpack_from(body)
            found.append((index, bool(flags & _RUNNING) and _has_learnt_of_carrier(body)))


def _has_learnt_of_carrier(link: bytes) -> bool:
    """Whether the kernel has dealt with the carrier of a link.

    A veth that has not been told counts as running all the same, its state being unknown; its queue drops
    everything until then. Of a TAP device, which has no other end, the state may stay unknown.
    """
    state = _attribute(link, _IFLA_OPERSTATE)
    return state == _STATE_UP or not _attribute(link, _IFLA_LINK)


def _attribute(link: bytes, wanted: int) -> bytes:
    """Return the value of an attribute of a link, empty if it has none (struct rtattr, rtnetlink(7))."""
    offset = _LINK.size
    while offset + _ATTRIBUTE.size <= len(link):
        length, kind = _ATTRIBUTE.unpack_from(link, offset)
        if kind == wanted:
            return link[offset + _ATTRIBUTE.size : offset + length]
        offset += (max(length, _ATTRIBUTE.size) + 3) & ~3
    return b""


def bridge(name: str, mtu: int) -> Request:
    """A bridge, down, that forwards at once and asks nobody anything: no spanning tree, no multicast snooping.

    It is to come up after its ports: an open bridge looks at all of them whenever one changes.
    """
    data = {"attrs": [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_MCAST_SNOOPING", 0)]}
    return _new_link(
        f"bridge {name}",
        [
            ("IFLA_IFNAME", name),
            ("IFLA_MTU", mtu),
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]}),
        ],
        flags=0,
    )


def veth(*, port: str, bridge_index: int, peer: str, peer_namespace: int, mac: str, mtu: int, port_mtu: int) -> Request:
    """A veth pair: `port` here, up and on the bridge; `peer` born, down, in the namespace of that descriptor."""
    differing = (
        (_ANY_NAME.encode(), port.encode().ljust(len(_ANY_NAME), b"\0")),
        (_ANY_MAC_BYTES, bytes.fromhex(mac.replace(":", ""))),
        (struct.pack("=I", _ANY_DESCRIPTOR), struct.pack("=I", peer_namespace)),
    )
    data = _any_veth(bridge_index, peer, mtu, port_mtu)
    for placeholder, actual in differing:
        data = data.replace(placeholder, actual)
    return Request(data, f"interface {peer} ({port})")


@functools.lru_cache(_REMEMBERED)
def _any_veth(bridge_index: int, peer: str, mtu: int, port_mtu: int) -> bytes:
    """Encode all that a network's wires have in common, with placeholders for the rest.

    Encoding takes a tenth of the time that the kernel needs to make a pair, so it is done once a network.
    """
    peer_message = {
        "attrs": [
            ("IFLA_IFNAME", peer),
            ("IFLA_ADDRESS", _ANY_MAC),
            ("IFLA_MTU", mtu),
            ("IFLA_NET_NS_FD", _ANY_DESCRIPTOR),
            *_ONE_QUEUE,
        ],
    }
    data = {"attrs": [("VETH_INFO_PEER", peer_message)]}
    return _new_link(
        "",
        [
            ("IFLA_IFNAME", _ANY_NAME),
            ("IFLA_MTU", port_mtu),
            ("IFLA_MASTER", bridge_index),
            *_ONE_QUEUE,
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}),
        ],
        flags=_UP,
    ).data


@functools.lru_cache(_REMEMBERED)
def up(index: int, name: str) -> Request:
    """Bring an interface up."""
    header = {"type": _NEWLINK, "flags": _REQUEST}
    return Request(_encode(ifinfmsg(), header, {"index": index, "flags": _UP, "change": _UP}), f"{name} up")


def down(index: int, name: str) -> Request:
    """Take an interface down: its routes go with it, and its IPv6 addresses."""
    header = {"type": _NEWLINK, "flags": _REQUEST}
    return Request(_encode(ifinfmsg(), header, {"index": index, "flags": 0, "change": _UP}), f"{name} down")


def removal(index: int, name: str) -> Request:
    """Remove an interface; of a pair both."""
    return Request(_encode(ifinfmsg(), {"type": _DELLINK, "flags": _REQUEST}, {"index": index}), f"removal of {name}")


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
    given = (
        ("IFLA_IFNAME", new_name),
        ("IFLA_ADDRESS", mac),
        ("IFLA_MTU", mtu),
        ("IFLA_TXQLEN", queue),
        ("IFLA_MASTER", bridge_index),
    )
    fields = {"index": index, "attrs": [(key, value) for key, value in given if value]}
    if is_up is not None:
        fields |= {"flags": _UP if is_up else 0, "change": _UP}
    return Request(_encode(ifinfmsg(), {"type": _NEWLINK, "flags": _REQUEST}, fields), f"interface {name}")


def address(index: int, with_prefix: str) -> Request:
    """Add an address ("10.0.1.10/24") to the interface of this index, with its broadcast address."""
    own = ip_interface(with_prefix)
    data = _any_address(index, own.network)
    return Request(data.replace(_ANY_ADDRESS[own.version].packed, own.ip.packed), f"address {with_prefix}")


def carrier(index: int, name: str, *, there: bool) -> Request:
    """Give an interface its carrier or take it away; only some drivers let themselves be told (TAP devices do)."""
    header = {"type": _NEWLINK, "flags": _REQUEST}
    fields = {"index": index, "attrs": [("IFLA_CARRIER", int(there))]}
    return Request(_encode(ifinfmsg(), header, fields), f"{name} carrier")


def address_removals(channel: socket.socket) -> list[Request]:
    """Return what removes each address that the channel's namespace has now, but for those of `lo`."""
    channel.sendall(_encode(ifaddrmsg(), {"type": _GETADDR, "flags": _REQUEST | _DUMP}, {}))
    found: list[Request] = []
    while True:
        for kind, _number, body in _messages(channel.recv(1 << 17)):
            if kind == _NLMSG_DONE:
                return found
            _family, _length, _flags, _scope, index = _ADDRESS.unpack_from(body)
            if index != LOOPBACK_INDEX:
                header = _HEADER.pack(_HEADER.size + len(body), _DELADDR, _REQUEST, 0, 0)
                found.append(Request(header + body, "removal of an address"))


@functools.lru_cache(_REMEMBERED)
def _any_address(index: int, network: IPv4Network | IPv6Network) -> bytes:
    placeholder = str(_ANY_ADDRESS[network.version])
    attributes: list[tuple[str, Any]] = [
        ("IFA_LOCAL", placeholder),
        ("IFA_ADDRESS", placeholder),
        ("IFA_FLAGS", _NO_DAD if network.version == _IPV6 else 0),
    ]
    if network.version != _IPV6 and network.prefixlen < _NO_BROADCAST:
        attributes.append(("IFA_BROADCAST", str(network.broadcast_address)))
    fields = {
        "family": _FAMILIES[network.version],
        "prefixlen": network.prefixlen,
        "index": index,
        "attrs": attributes,
    }
    return _encode(ifaddrmsg(), {"type": _NEWADDR, "flags": _REQUEST | _CREATE | _EXCLUSIVE}, fields)


def connected_route(index: int, with_prefix: str, congestion_control: str) -> Request:
    """Put TCP's congestion control on the route to an address' own network, which the kernel has made with it."""
    own = ip_interface(with_prefix)
    data = _any_connected_route(index, own.network, congestion_control)
    return Request(data.replace(_ANY_ADDRESS[own.version].packed, own.ip.packed), f"route {own.network}")


@functools.lru_cache(_REMEMBERED)
def _any_connected_route(index: int, network: IPv4Network | IPv6Network, congestion_control: str) -> bytes:
    attributes: list[tuple[str, Any]] = [("RTA_PREFSRC", str(_ANY_ADDRESS[network.version]))]
    if network.version == _IPV6:
        attributes = [("RTA_PRIORITY", _CONNECTED_PRIORITY_IPV6)]
    fields = {"scope": _SCOPE_LINK, "proto": _BY_KERNEL}
    return _route(index, network, attributes, congestion_control, fields, _REPLACE)


@functools.lru_cache(_REMEMBERED)
def route(index: int, to: str, via: str, congestion_control: str = "") -> Request:
    """Add a route to the prefix `to` by the next hop `via` out of the interface of this index.

    Args:
        congestion_control: the algorithm of TCP connections by this route; empty for the namespace's own.
    """
    fields = {"scope": _SCOPE_UNIVERSE, "proto": _BY_ADMIN}
    data = _route(index, ip_network(to), [("RTA_GATEWAY", via)], congestion_control, fields, _EXCLUSIVE)
    return Request(data, f"route {to} via {via}")


def _route(
    index: int,
    network: IPv4Network | IPv6Network,
    attributes: list[tuple[str, Any]],
    congestion_control: str,
    fields: dict[str, int],
    flags: int,
) -> bytes:
    attributes = [*attributes, ("RTA_OIF", index)]
    if network.prefixlen:
        attributes.append(("RTA_DST", str(network.network_address)))
    if congestion_control:
        attributes.append(("RTA_METRICS", {"attrs": [("RTAX_CC_ALGO", congestion_control)]}))
    common = {
        "family": _FAMILIES[network.version],
        "dst_len": network.prefixlen,
        "table": _TABLE_MAIN,
        "type": _UNICAST,
        "attrs": attributes,
    }
    return _encode(rtmsg(), {"type": _NEWROUTE, "flags": _REQUEST | _CREATE | flags}, {**common, **fields})


def _new_link(what: str, attributes: list[tuple[str, Any]], *, flags: int) -> Request:
    header = {"type": _NEWLINK, "flags": _REQUEST | _CREATE | _EXCLUSIVE}
    return Request(_encode(ifinfmsg(), header, {"flags": flags, "change": flags, "attrs": attributes}), what)


def _encode(message: Any, header: dict[str, int], fields: dict[str, Any]) -> bytes:
    message["header"].update(header)
    message.update(fields)
    message.encode()
    return bytes(message.data)


def _numbered(data: bytes, number: int, *, ack: bool) -> bytes:
    length, kind, flags, _sequence, _port = _HEADER.unpack_from(data)
    return _HEADER.pack(length, kind, flags | (_ACK if ack else 0), number, 0) + data[_HEADER.size :]


def _messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, sequence number, body) of each message in a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, _flags, number, _port = _HEADER.unpack_from(datagram, offset)
        yield kind, number, datagram[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3
