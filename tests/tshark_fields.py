"""tshark's fields, and what the decoder has for each."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import dns.rdatatype

from lab.trace import icmp6, ipv4_options, ndp, tcp_options
from lab.trace.ipv4 import IPv4
from lab.trace.ipv6 import IPv6
from lab.trace.ipv6_extensions import Authentication, DestinationOptions, Fragment, HopByHop, Routing
from lab.trace.packet import Packet
from lab.trace.quote import Quoted

Items = Callable[[Packet], Iterable[Any]]


@dataclass(frozen=True)
class Field:
    """How to read a value of a tshark field (None is passed over), and all that the decoder has of it."""

    name: str
    read: Callable[[str], Any]
    ours: Items


def quoted(packet: Packet) -> list[Quoted]:
    message = packet.icmp or packet.icmp6
    return [] if message is None or message.quoted is None else [message.quoted]


# How tshark writes values.


def _number(text: str) -> int:
    if text in {"True", "False"}:  # from version 4.2 on
        return int(text == "True")
    return int(text, 0)


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _hex(text: str) -> str:
    return text.replace(":", "").lower()


def _kind(text: str) -> int | None:
    """Pass over the ends of options: tshark takes each byte of the padding behind for another one."""
    return int(text) or None


def _units_of_8(text: str) -> int:
    return 8 * int(text)


def _status(text: str) -> bool | None:
    return {"0": False, "1": True, "2": None, "3": None}[text]


# Where the decoder has them.


def _layer(name: str) -> Items:
    """Make a list of a packet's layers of one name: its own, and that of the packet it quotes."""

    def layers(packet: Packet) -> list[Any]:
        holders: list[Any] = [packet, *quoted(packet)]
        return [layer for layer in (getattr(holder, name) for holder in holders) if layer is not None]

    return layers


def _only(items: Items, *kinds: type[Any]) -> Items:
    return lambda packet: [item for item in items(packet) if isinstance(item, kinds)]


def _inside(items: Items, name: str) -> Items:
    return lambda packet: [part for item in items(packet) for part in getattr(item, name)]


def _one(name: str, read: Callable[[str], Any], items: Items, value: Callable[[Any], Any]) -> Field:
    """Make a field that has a value per item; None says that the item has none."""
    return Field(name, read, lambda packet: [got for got in map(value, items(packet)) if got is not None])


def _many(name: str, read: Callable[[str], Any], items: Items, values: Callable[[Any], Iterable[Any]]) -> Field:
    return Field(name, read, lambda packet: [got for item in items(packet) for got in values(item)])


def _ports(protocol: int, index: int) -> Items:
    """Make a list of ports, those of a quote too short for a whole transport header included."""

    def ports(packet: Packet) -> list[int]:
        transport = packet.tcp if protocol == 6 else packet.udp
        own = [] if transport is None else [(transport.source_port, transport.destination_port)]
        more = [quote.ports for quote in quoted(packet) if quote.ip.protocol == protocol and quote.ports]
        return [pair[index] for pair in own + more]

    return ports


def _own(layer: str, value: Callable[[Packet], Any]) -> Items:
    """Make a list of the one value that a packet has if it has the layer."""
    return lambda packet: [] if getattr(packet, layer) is None else [value(packet)]


def _payload(layer: str) -> Items:
    def payloads(packet: Packet) -> list[str]:
        holders: list[Any] = [holder for holder in (packet, *quoted(packet)) if getattr(holder, layer) is not None]
        return [holder.payload.hex() for holder in holders if holder.payload]

    return payloads


def _own_v4(packet: Packet) -> list[bool | None]:
    return [packet.ip_checksum_ok] if isinstance(packet.ip, IPv4) else []


def _message(packet: Packet) -> list[Any]:
    return [] if packet.dns is None else [packet.dns]


def _records(message: Any, type_: str) -> list[str]:
    wanted = dns.rdatatype.from_text(type_)
    return [record.address for answer in message.answer if answer.rdtype == wanted for record in answer]


def _vlans(tpid: int) -> Items:
    return lambda packet: [tag for tag in (packet.eth.vlans if packet.eth else ()) if tag.tpid == tpid]


def _of_type(type_: int) -> Items:
    return lambda packet: [message for message in _icmp6(packet) if message.type == type_]


def _first(name: str) -> Items:
    """Make a list of a packet's own layer of one name, without that of a quote."""
    return lambda packet: [layer for layer in [getattr(packet, name)] if layer is not None]


def _routers(packet: Packet) -> list[Any]:
    return [message.router for message in _of_type(icmp6.ROUTER_ADVERTISEMENT)(packet)]


def _listeners(packet: Packet) -> list[Any]:
    return [message.mld for message in _icmp6(packet) if message.mld is not None]


_eth, _arp, _icmp6 = _first("eth"), _first("arp"), _first("icmp6")
_icmp, _udp, _tcp = _layer("icmp"), _layer("udp"), _layer("tcp")
_v4, _v6 = _only(_layer("ip"), IPv4), _only(_layer("ip"), IPv6)
_v4_options, _v6_headers = _inside(_v4, "options"), _inside(_v6, "extensions")
_tcp_options, _ndp_options = _inside(_tcp, "options"), _inside(_icmp6, "options")
_v6_options = _inside(_only(_v6_headers, HopByHop, DestinationOptions), "options")
_source_routes = _only(_v4_options, ipv4_options.LooseSourceRoute, ipv4_options.StrictSourceRoute)
_timestamps = _only(_v4_options, ipv4_options.Timestamp)
_fragments = _only(_v6_headers, Fragment)
_prefixes = _only(_ndp_options, ndp.PrefixInformation)
_link_addresses = _only(_ndp_options, ndp.SourceLinkAddress, ndp.TargetLinkAddress)

_routing = _only(_v6_headers, Routing)
_authentication = _only(_v6_headers, Authentication)
_tcp_timestamps = _only(_tcp_options, tcp_options.Timestamps)
_tcp_authentication = _only(_tcp_options, tcp_options.Authentication)
_all_prefixes = _only(_ndp_options, ndp.PrefixInformation, ndp.RouteInformation)
_dns_servers = _only(_ndp_options, ndp.DnsServers)
_advertisements = _of_type(icmp6.NEIGHBOR_ADVERTISEMENT)
_redirects = _of_type(icmp6.REDIRECT)
_solicitations = _of_type(icmp6.NEIGHBOR_SOLICITATION)

_records_of_groups = _inside(_listeners, "records")

_KNOWN_V4_OPTIONS = (
    ipv4_options.EndOfOptions,
    ipv4_options.NoOperation,
    ipv4_options.RecordRoute,
    ipv4_options.LooseSourceRoute,
    ipv4_options.StrictSourceRoute,
    ipv4_options.Timestamp,
    ipv4_options.RouterAlert,
)

FIELDS = (
    _one("eth.dst", _hex, _eth, lambda eth: _hex(eth.dst)),
    _one("eth.src", _hex, _eth, lambda eth: _hex(eth.src)),
    _one(
        "eth.type",
        _number,
        _eth,
        lambda eth: eth.vlans[0].tpid if eth.vlans else eth.type if eth.type > 1535 else None,
    ),
    _one("eth.len", _number, _eth, lambda eth: eth.type if eth.type <= 1535 else None),
    _one("vlan.id", _number, _vlans(0x8100), lambda tag: tag.id),
    _one("vlan.priority", _number, _vlans(0x8100), lambda tag: tag.priority),
    _one("vlan.dei", _number, _vlans(0x8100), lambda tag: tag.drop_eligible),
    _one("ieee8021ad.id", _number, _vlans(0x88A8), lambda tag: tag.id),
    _one("arp.hw.type", _number, _arp, lambda arp: arp.hardware_type),
    _one("arp.proto.type", _number, _arp, lambda arp: arp.protocol_type),
    _one("arp.hw.size", _number, _arp, lambda arp: arp.hardware_size),
    _one("arp.proto.size", _number, _arp, lambda arp: arp.protocol_size),
    _one("arp.opcode", _number, _arp, lambda arp: arp.operation),
    _one("arp.src.hw_mac", _hex, _arp, lambda arp: _hex(arp.sender_mac)),
    _one("arp.src.proto_ipv4", _address, _arp, lambda arp: arp.sender_ip),
    _one("arp.dst.hw_mac", _hex, _arp, lambda arp: _hex(arp.target_mac)),
    _one("arp.dst.proto_ipv4", _address, _arp, lambda arp: arp.target_ip),
    _one("ip.src", _address, _v4, lambda ip: ip.src),
    _one("ip.dst", _address, _v4, lambda ip: ip.final_dst),
    _one("ip.hdr_len", _number, _v4, lambda ip: ip.header_length),
    _one("ip.dsfield.dscp", _number, _v4, lambda ip: ip.dscp),
    _one("ip.dsfield.ecn", _number, _v4, lambda ip: ip.ecn),
    _one("ip.len", _number, _v4, lambda ip: ip.total_length),
    _one("ip.id", _number, _v4, lambda ip: ip.id),
    _one("ip.flags.df", _number, _v4, lambda ip: ip.dont_fragment),
    _one("ip.flags.mf", _number, _v4, lambda ip: ip.more_fragments),
    _one("ip.frag_offset", _units_of_8, _v4, lambda ip: ip.fragment_offset),
    _one("ip.ttl", _number, _v4, lambda ip: ip.ttl),
    _one("ip.proto", _number, _v4, lambda ip: ip.protocol),
    _one("ip.checksum", _number, _v4, lambda ip: ip.checksum),
    _one("ip.opt.type", _number, _only(_v4_options, *_KNOWN_V4_OPTIONS), lambda it: it.kind),
    _one("ip.opt.ra", _number, _only(_v4_options, ipv4_options.RouterAlert), lambda it: it.value),
    _one("ip.opt.flag", _number, _timestamps, lambda it: it.flag),
    _one("ip.opt.overflow", _number, _timestamps, lambda it: it.overflow),
    _many("ip.opt.time_stamp", _number, _timestamps, lambda it: [time for _, time in it.entries]),
    _many("ip.opt.time_stamp_addr", _address, _timestamps, lambda it: [at for at, _ in it.entries if at]),
    _many(
        "ip.empty_rt",
        _address,
        _only(_v4_options, ipv4_options.RecordRoute),
        lambda it: it.addresses[len(it.used) :],
    ),
    _many("ip.src_rt", _address, _source_routes, lambda it: it.addresses[len(it.used) : -1]),
    _one("ipv6.src", _address, _v6, lambda ip: ip.src),
    _one("ipv6.tclass.dscp", _number, _v6, lambda ip: ip.dscp),
    _one("ipv6.tclass.ecn", _number, _v6, lambda ip: ip.ecn),
    _one("ipv6.flow", _number, _v6, lambda ip: ip.flow_label),
    _one("ipv6.plen", _number, _v6, lambda ip: ip.payload_length),
    _one("ipv6.nxt", _number, _v6, lambda ip: ip.next_header),
    _one("ipv6.hlim", _number, _v6, lambda ip: ip.hop_limit),
    _one("ipv6.opt.type", _number, _v6_options, lambda it: it.type),
    _one("ipv6.opt.length", _number, _v6_options, lambda it: len(it.data) if it.type else None),
    _one("ipv6.routing.type", _number, _routing, lambda it: it.type),
    _one("ipv6.routing.segleft", _number, _routing, lambda it: it.segments_left),
    _many("ipv6.routing.src.addr", _address, _routing, lambda it: it.addresses if it.type == 0 else []),
    _many("ipv6.routing.mipv6.home_address", _address, _routing, lambda it: it.addresses if it.type == 2 else []),
    _many("ipv6.routing.srh.addr", _address, _routing, lambda it: it.addresses if it.type == 4 else []),
    _one("ipv6.fraghdr.offset", _units_of_8, _fragments, lambda it: it.offset),
    _one("ipv6.fraghdr.more", _number, _fragments, lambda it: it.more),
    _one("ipv6.fraghdr.ident", _number, _fragments, lambda it: it.id),
    _one("ah.spi", _number, _authentication, lambda it: it.spi),
    _one("ah.sequence", _number, _authentication, lambda it: it.sequence),
    _one("ah.icv", _hex, _authentication, lambda it: it.icv.hex()),
    _one("icmp.type", _number, _icmp, lambda it: it.type),
    _one("icmp.code", _number, _icmp, lambda it: it.code),
    _one("icmp.checksum", _number, _icmp, lambda it: it.checksum),
    _one("icmp.ident", _number, _icmp, lambda it: it.id),
    _one("icmp.seq", _number, _icmp, lambda it: it.seq),
    _one("icmp.redir_gw", _address, _icmp, lambda it: it.gateway),
    _one("icmp.mtu", _number, _icmp, lambda it: it.mtu),
    _one("icmp.pointer", _number, _icmp, lambda it: it.pointer),
    _one("icmp.originate_timestamp", _number, _icmp, lambda it: (it.timestamps or [None])[0]),
    _one("icmp.transmit_timestamp", _number, _icmp, lambda it: (it.timestamps or [None])[-1]),
    _one("icmpv6.type", _number, _icmp6, lambda it: it.type),
    _one("icmpv6.code", _number, _icmp6, lambda it: it.code),
    _one("icmpv6.checksum", _number, _icmp6, lambda it: it.checksum),
    _one("icmpv6.echo.identifier", _number, _icmp6, lambda it: it.id),
    _one("icmpv6.echo.sequence_number", _number, _icmp6, lambda it: it.seq),
    _one("icmpv6.mtu", _number, _icmp6, lambda it: it.mtu),
    _one("icmpv6.pointer", _number, _icmp6, lambda it: it.pointer),
    _one("icmpv6.nd.ns.target_address", _address, _solicitations, lambda it: it.target),
    _one("icmpv6.nd.na.target_address", _address, _advertisements, lambda it: it.target),
    _one("icmpv6.nd.rd.target_address", _address, _redirects, lambda it: it.target),
    _one("icmpv6.rd.na.destination_address", _address, _redirects, lambda it: it.destination),
    _one("icmpv6.nd.na.flag.r", _number, _advertisements, lambda it: it.neighbor.router),
    _one("icmpv6.nd.na.flag.s", _number, _advertisements, lambda it: it.neighbor.solicited),
    _one("icmpv6.nd.na.flag.o", _number, _advertisements, lambda it: it.neighbor.override),
    _one("icmpv6.nd.ra.cur_hop_limit", _number, _routers, lambda it: it.hop_limit),
    _one("icmpv6.nd.ra.flag.m", _number, _routers, lambda it: it.managed),
    _one("icmpv6.nd.ra.flag.o", _number, _routers, lambda it: it.other),
    _one("icmpv6.nd.ra.flag.prf", _number, _routers, lambda it: it.preference),
    _one("icmpv6.nd.ra.router_lifetime", _number, _routers, lambda it: it.lifetime),
    _one("icmpv6.nd.ra.reachable_time", _number, _routers, lambda it: it.reachable_time),
    _one("icmpv6.nd.ra.retrans_timer", _number, _routers, lambda it: it.retransmit_time),
    _one("icmpv6.opt.type", _number, _ndp_options, lambda it: it.type),
    _one("icmpv6.opt.linkaddr", _hex, _link_addresses, lambda it: _hex(it.mac)),
    _one("icmpv6.opt.prefix.length", _number, _all_prefixes, lambda it: it.length),
    _one("icmpv6.opt.prefix.flag.l", _number, _prefixes, lambda it: it.on_link),
    _one("icmpv6.opt.prefix.flag.a", _number, _prefixes, lambda it: it.autonomous),
    _one("icmpv6.opt.prefix.valid_lifetime", _number, _prefixes, lambda it: it.valid_lifetime),
    _one("icmpv6.opt.prefix.preferred_lifetime", _number, _prefixes, lambda it: it.preferred_lifetime),
    _one("icmpv6.opt.prefix", _address, _all_prefixes, lambda it: it.prefix),
    _one("icmpv6.opt.mtu", _number, _only(_ndp_options, ndp.LinkMtu), lambda it: it.value),
    _one(
        "icmpv6.opt.route_lifetime",
        _number,
        _only(_ndp_options, ndp.RouteInformation),
        lambda it: it.lifetime,
    ),
    _one("icmpv6.opt.nonce", _hex, _only(_ndp_options, ndp.Nonce), lambda it: it.data.hex()),
    _one("icmpv6.opt.rdnss.lifetime", _number, _dns_servers, lambda it: it.lifetime),
    _many("icmpv6.opt.rdnss", _address, _dns_servers, lambda it: it.addresses),
    _one("icmpv6.mld.multicast_address", _address, _listeners, lambda it: it.group),
    _many("icmpv6.mld.source_address", _address, _listeners, lambda it: it.sources),
    _one("icmpv6.mldr.mar.record_type", _number, _records_of_groups, lambda it: it.type),
    _one("icmpv6.mldr.mar.multicast_address", _address, _records_of_groups, lambda it: it.group),
    _many("icmpv6.mldr.mar.source_address", _address, _records_of_groups, lambda it: it.sources),
    Field("udp.srcport", _number, _ports(17, 0)),
    Field("udp.dstport", _number, _ports(17, 1)),
    _one("udp.length", _number, _udp, lambda it: it.length),
    _one("udp.checksum", _number, _udp, lambda it: it.checksum),
    Field("tcp.srcport", _number, _ports(6, 0)),
    Field("tcp.dstport", _number, _ports(6, 1)),
    _one("tcp.seq_raw", _number, _tcp, lambda it: it.seq),
    _one("tcp.ack_raw", _number, _tcp, lambda it: it.ack),
    _one("tcp.hdr_len", _number, _tcp, lambda it: it.header_length),
    _one("tcp.flags", _number, _tcp, lambda it: it.flags),
    _one("tcp.window_size_value", _number, _tcp, lambda it: it.window),
    _one("tcp.checksum", _number, _tcp, lambda it: it.checksum),
    _one("tcp.urgent_pointer", _number, _tcp, lambda it: it.urgent_pointer),
    _one("tcp.option_kind", _kind, _tcp_options, lambda it: it.kind or None),
    _one("tcp.options.mss_val", _number, _tcp, lambda it: it.mss),
    _one("tcp.options.wscale.shift", _number, _tcp, lambda it: it.window_scale),
    _many("tcp.options.sack_le", _number, _tcp, lambda it: [left for left, _ in it.sack_blocks]),
    _many("tcp.options.sack_re", _number, _tcp, lambda it: [right for _, right in it.sack_blocks]),
    _one("tcp.options.timestamp.tsval", _number, _tcp_timestamps, lambda it: it.value),
    _one("tcp.options.timestamp.tsecr", _number, _tcp_timestamps, lambda it: it.echo),
    _one(
        "tcp.options.md5.digest",
        _hex,
        _only(_tcp_options, tcp_options.MD5Signature),
        lambda it: it.digest.hex(),
    ),
    _one("tcp.options.ao.keyid", _number, _tcp_authentication, lambda it: it.key_id),
    _one("tcp.options.ao.rnextkeyid", _number, _tcp_authentication, lambda it: it.next_key_id),
    _one("tcp.options.ao.mac", _hex, _tcp_authentication, lambda it: it.mac.hex()),
    _one(
        "tcp.options.tfo.cookie",
        _hex,
        _only(_tcp_options, tcp_options.FastOpen),
        lambda it: it.cookie.hex() or None,
    ),
    _one(
        "tcp.options.mptcp.subtype",
        _number,
        _only(_tcp_options, tcp_options.Multipath),
        lambda it: it.subtype,
    ),
    Field("tcp.payload", _hex, _payload("tcp")),
    Field("udp.payload", _hex, _payload("udp")),
    Field("ip.checksum.status", _status, _own_v4),
    Field("icmp.checksum.status", _status, _own("icmp", lambda packet: packet.transport_checksum_ok)),
    Field("icmpv6.checksum.status", _status, _own("icmp6", lambda packet: packet.transport_checksum_ok)),
    Field("udp.checksum.status", _status, _own("udp", lambda packet: packet.transport_checksum_ok)),
    Field("tcp.checksum.status", _status, _own("tcp", lambda packet: packet.transport_checksum_ok)),
    _one("dns.id", _number, _message, lambda it: it.id),
    _one("dns.flags", _number, _message, lambda it: int(it.flags)),
    _many("dns.qry.type", _number, _message, lambda it: [int(entry.rdtype) for entry in it.question]),
    _many(
        "dns.qry.name",
        str,
        _message,
        lambda it: [entry.name.to_text(omit_final_dot=True) for entry in it.question],
    ),
    _many("dns.a", _address, _message, lambda it: _records(it, "A")),
    _many("dns.aaaa", _address, _message, lambda it: _records(it, "AAAA")),
)
