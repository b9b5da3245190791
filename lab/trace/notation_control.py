"""ARP, ICMP and ICMPv6 as text."""

from __future__ import annotations

from lab.trace import arp, icmp, icmp6, mld, ndp
from lab.trace.arp import ARP
from lab.trace.icmp import ICMP
from lab.trace.icmp6 import ICMP6

_ICMP_TYPES = {
    icmp.ECHO_REPLY: "echo_reply",
    icmp.UNREACHABLE: "unreachable",
    icmp.SOURCE_QUENCH: "source_quench",
    icmp.REDIRECT: "redirect",
    icmp.ECHO_REQUEST: "echo_request",
    icmp.TIME_EXCEEDED: "time_exceeded",
    icmp.PARAMETER_PROBLEM: "parameter_problem",
    icmp.TIMESTAMP_REQUEST: "timestamp_request",
    icmp.TIMESTAMP_REPLY: "timestamp_reply",
}
_ICMP_CODES = {
    (icmp.UNREACHABLE, 0): "net",
    (icmp.UNREACHABLE, 1): "host",
    (icmp.UNREACHABLE, 2): "protocol",
    (icmp.UNREACHABLE, 3): "port",
    (icmp.UNREACHABLE, 4): "fragmentation_needed",
    (icmp.UNREACHABLE, 5): "source_route_failed",
    (icmp.UNREACHABLE, 9): "net_prohibited",
    (icmp.UNREACHABLE, 10): "host_prohibited",
    (icmp.UNREACHABLE, 13): "prohibited",
    (icmp.REDIRECT, 0): "net",
    (icmp.REDIRECT, 1): "host",
    (icmp.REDIRECT, 2): "net_tos",
    (icmp.REDIRECT, 3): "host_tos",
    (icmp.TIME_EXCEEDED, 0): "ttl",
    (icmp.TIME_EXCEEDED, 1): "reassembly",
}
_ICMP6_TYPES = {
    icmp6.UNREACHABLE: "unreachable",
    icmp6.PACKET_TOO_BIG: "packet_too_big",
    icmp6.TIME_EXCEEDED: "time_exceeded",
    icmp6.PARAMETER_PROBLEM: "parameter_problem",
    icmp6.ECHO_REQUEST: "echo_request",
    icmp6.ECHO_REPLY: "echo_reply",
    icmp6.ROUTER_SOLICITATION: "router_solicitation",
    icmp6.ROUTER_ADVERTISEMENT: "router_advertisement",
    icmp6.NEIGHBOR_SOLICITATION: "neighbor_solicitation",
    icmp6.NEIGHBOR_ADVERTISEMENT: "neighbor_advertisement",
    icmp6.REDIRECT: "redirect",
    mld.QUERY: "listener_query",
    mld.REPORT: "listener_report",
    mld.DONE: "listener_done",
    mld.REPORT_V2: "listener_report_v2",
}
_ICMP6_CODES = {
    (icmp6.UNREACHABLE, 0): "no_route",
    (icmp6.UNREACHABLE, 1): "prohibited",
    (icmp6.UNREACHABLE, 2): "beyond_scope",
    (icmp6.UNREACHABLE, 3): "address",
    (icmp6.UNREACHABLE, 4): "port",
    (icmp6.TIME_EXCEEDED, 0): "hop_limit",
    (icmp6.TIME_EXCEEDED, 1): "reassembly",
}


def arp_text(message: ARP) -> str:
    """Return `arp who-has 10.0.1.1 tell 10.0.1.10` or `arp 10.0.1.1 is-at 02:...`."""
    if message.operation == arp.REQUEST:
        return f"arp who-has {message.target_ip} tell {message.sender_ip}"
    if message.operation == arp.REPLY:
        return f"arp {message.sender_ip} is-at {message.sender_mac}"
    return f"arp operation {message.operation} {message.sender_ip} {message.target_ip}"


def icmp_text(message: ICMP) -> str:
    """Return `icmp redirect host gateway 10.0.1.2`: type, code and what belongs to them."""
    name = _ICMP_TYPES.get(message.type, f"type {message.type}")
    code = _ICMP_CODES.get((message.type, message.code), f"code {message.code}" if message.code else "")
    return _joined(
        "icmp",
        name,
        code,
        id=message.id,
        seq=message.seq,
        gateway=message.gateway,
        mtu=message.mtu,
        pointer=message.pointer,
    )


def icmp6_text(message: ICMP6) -> str:
    """Return `icmp6 neighbor_solicitation target fe80::1`: type, code and what belongs to them."""
    name = _ICMP6_TYPES.get(message.type, f"type {message.type}")
    code = _ICMP6_CODES.get((message.type, message.code), f"code {message.code}" if message.code else "")
    text = _joined(
        "icmp6",
        name,
        code,
        id=message.id,
        seq=message.seq,
        mtu=message.mtu,
        pointer=message.pointer,
        target=message.target,
        destination=message.destination,
    )
    return text + "".join(map(_ndp_option, message.options)) + _mld(message)


def _joined(protocol: str, name: str, code: str, **values: str | int | None) -> str:
    pairs = [f"{key} {value}" for key, value in values.items() if value is not None]
    return " ".join(filter(None, [protocol, name, code, *pairs]))


def _ndp_option(option: ndp.Option) -> str:
    match option:
        case ndp.SourceLinkAddress(mac):
            return f" source {mac}"
        case ndp.TargetLinkAddress(mac):
            return f" is-at {mac}"
        case ndp.PrefixInformation(prefix, length):
            return f" prefix {prefix}/{length}"
        case ndp.LinkMtu(value):
            return f" mtu {value}"
        case _:
            return ""


def _mld(message: ICMP6) -> str:
    if message.mld is None:
        return ""
    groups = [record.group for record in message.mld.records] or [message.mld.group or ""]
    return " " + " ".join(groups)
