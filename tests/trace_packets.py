"""Frames built by hand, byte by byte, for the tests of the decoder: it never builds what it reads."""

from __future__ import annotations

import ipaddress
import struct

import dns.flags
import dns.message
import dns.rrset

HOST_MAC = bytes.fromhex("020000000010")
ROUTER_MAC = bytes.fromhex("020000000001")
HOST, WEB, ROUTER, BETTER, FAR = "10.0.1.10", "10.0.1.80", "10.0.1.1", "10.0.1.2", "10.9.0.9"
HOST6, WEB6, LOCAL6, ROUTER6 = "2001:db8:1::10", "2001:db8:1::80", "fe80::10", "fe80::1"
ALL_NODES = "ff02::1"

TIMESTAMPS = b"\x01\x01\x08\x0a" + struct.pack("!II", 100, 99)
SYN_OPTIONS = bytes.fromhex("020405b4 0402 080a 00000064 00000000 01 030307".replace(" ", ""))


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def internet_checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def with_checksum(data: bytes, offset: int, pseudo: bytes = b"") -> bytes:
    value = internet_checksum(pseudo + data[:offset] + b"\0\0" + data[offset + 2 :])
    return data[:offset] + struct.pack("!H", value) + data[offset + 2 :]


def ethernet(body: bytes, ethertype: int, tags: bytes = b"") -> bytes:
    return ROUTER_MAC + HOST_MAC + tags + struct.pack("!H", ethertype) + body


def ipv4(
    body: bytes,
    protocol: int,
    *,
    src: str = HOST,
    dst: str = WEB,
    options: bytes = b"",
    fragment: int = 0x4000,
    ttl: int = 64,
    tos: int = 0,
) -> bytes:
    length = 20 + len(options)
    fields = (0x40 | length // 4, tos, length + len(body), 4711, fragment, ttl, protocol, 0)
    header = struct.pack("!BBHHHBBH", *fields) + address(src) + address(dst) + options
    return with_checksum(header, 10) + body


def ipv6(body: bytes, next_header: int, *, src: str = HOST6, dst: str = WEB6, hop_limit: int = 64) -> bytes:
    first = 6 << 28 | 0x0A << 22 | 3 << 20 | 0x12345
    return struct.pack("!IHBB", first, len(body), next_header, hop_limit) + address(src) + address(dst) + body


def pseudo(protocol: int, length: int, src: str, dst: str) -> bytes:
    if ":" in src:
        return address(src) + address(dst) + struct.pack("!II", length, protocol)
    return address(src) + address(dst) + struct.pack("!HH", protocol, length)


def udp(payload: bytes, *, ports: tuple[int, int] = (40000, 7), src: str = HOST, dst: str = WEB) -> bytes:
    datagram = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    return with_checksum(datagram, 6, pseudo(17, len(datagram), src, dst))


def tcp(  # noqa: PLR0913 - one argument for each field that a test sets
    payload: bytes = b"",
    *,
    flags: int = 0x10,
    seq: int = 1001,
    ack: int = 2001,
    options: bytes = b"",
    urgent: int = 0,
    ports: tuple[int, int] = (43210, 80),
    src: str = HOST,
    dst: str = WEB,
) -> bytes:
    options += bytes(-len(options) % 4)
    bits = (20 + len(options)) // 4 << 12 | flags
    segment = struct.pack("!HHIIHHHH", *ports, seq, ack, bits, 64240, 0, urgent) + options + payload
    return with_checksum(segment, 16, pseudo(6, len(segment), src, dst))


def icmp(type_: int, code: int, rest: bytes, body: bytes = b"") -> bytes:
    return with_checksum(struct.pack("!BBH", type_, code, 0) + rest + body, 2)


def icmp6(type_: int, code: int, body: bytes, *, src: str = LOCAL6, dst: str = ROUTER6) -> bytes:
    message = struct.pack("!BBH", type_, code, 0) + body
    return with_checksum(message, 2, pseudo(58, len(message), src, dst))


def tcp4(payload: bytes = b"", *, src: str = HOST, dst: str = WEB, **fields: object) -> bytes:
    """Build a whole frame with a TCP segment over IPv4."""
    return ethernet(ipv4(tcp(payload, src=src, dst=dst, **fields), 6, src=src, dst=dst), 0x0800)  # type: ignore[arg-type] # passed on


def udp4(payload: bytes, ports: tuple[int, int] = (40000, 7)) -> bytes:
    return ethernet(ipv4(udp(payload, ports=ports), 17), 0x0800)


def icmp4(message: bytes, *, src: str = ROUTER, dst: str = HOST) -> bytes:
    return ethernet(ipv4(message, 1, src=src, dst=dst), 0x0800)


def nd(type_: int, body: bytes, *, src: str = LOCAL6, dst: str = ROUTER6) -> bytes:
    """Build a whole frame with an ICMPv6 message between link-local neighbors."""
    message = icmp6(type_, 0, body, src=src, dst=dst)
    return ethernet(ipv6(message, 58, src=src, dst=dst, hop_limit=255), 0x86DD)


def chained(headers: list[tuple[int, bytes]], body: bytes, protocol: int, *, dst: str = WEB6) -> bytes:
    """Build an IPv6 frame with extension headers, each given without its first byte."""
    numbers = [number for number, _ in headers] + [protocol]
    chain = b"".join(bytes([following]) + rest for following, (_, rest) in zip(numbers[1:], headers, strict=True))
    return ethernet(ipv6(chain + body, numbers[0], dst=dst), 0x86DD)


def arp(operation: int, sender_ip: str, target_ip: str) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    body += HOST_MAC + address(sender_ip) + bytes(6) + address(target_ip)
    return ethernet(body.ljust(46, b"\0"), 0x0806)


QUERY = dns.message.make_query("www.example.test.", "A", id=7)
ANSWER = dns.message.make_response(QUERY)
ANSWER.flags |= dns.flags.AA
ANSWER.answer = [
    dns.rrset.from_text("www.example.test.", 60, "IN", "CNAME", "web.example.test."),
    dns.rrset.from_text("web.example.test.", 60, "IN", "A", "10.0.2.80"),
]

QUOTED_UDP = ipv4(udp(b"ping", src=HOST, dst=FAR), 17, dst=FAR)
QUOTED_ECHO = ipv4(icmp(8, 0, struct.pack("!HH", 1, 1), b"ping"), 1, dst=FAR)
QUOTED_TCP6 = ipv6(tcp(b"", flags=0x02, options=SYN_OPTIONS, src=HOST6, dst=WEB6), 6)
_PREFIX = b"\x03\x04\x40\xc0" + struct.pack("!II4x", 86400, 14400) + address("2001:db8:1::")
_UDP6 = udp(b"hello", src=HOST6, dst=WEB6)
_RECORDS = struct.pack("!BBH", 4, 1, 1) + address("ff02::1:ff00:10") + address(HOST6) + b"more"
_RECORDS += struct.pack("!BBH", 3, 0, 0) + address("ff02::16")

IP_OPTIONS = {
    "nop_end": bytes.fromhex("01000000"),
    "record_route": bytes.fromhex("070b08") + address(ROUTER) + bytes(4) + b"\0",
    "loose_source_route": bytes.fromhex("830b04") + address(BETTER) + address(FAR) + b"\0",
    "strict_source_route": bytes.fromhex("890b08") + address(BETTER) + address(FAR) + b"\0",
    "timestamp": bytes.fromhex("440c0920") + struct.pack("!II", 3600000, 0),
    "timestamp_address": bytes.fromhex("440c0d01") + address(ROUTER) + struct.pack("!I", 3600000),
    "timestamp_prespecified": bytes.fromhex("44140d13")
    + address(ROUTER)
    + struct.pack("!I", 3600000)
    + address(BETTER)
    + bytes(4),
    "router_alert": bytes.fromhex("94040000"),
    "unknown": bytes.fromhex("5e04abcd"),
}
TCP_OPTIONS = {
    "syn": SYN_OPTIONS,
    "timestamps": TIMESTAMPS,
    "end": bytes.fromhex("01000000"),
    "sack": b"\x01\x01\x05\x12" + struct.pack("!IIII", 3001, 4001, 5001, 6001),
    "sack_with_timestamps": TIMESTAMPS + b"\x01\x01\x05\x0a" + struct.pack("!II", 3001, 4001),
    "md5": b"\x13\x12" + bytes(range(16)) + b"\x01\x01",
    "authentication": b"\x1d\x10\x01\x02" + bytes(range(12)),
    "fast_open_request": b"\x22\x02\x01\x01",
    "fast_open": b"\x22\x0a" + bytes(range(8)) + b"\x01\x01",
    "user_timeout": b"\x1c\x04\x80\x05",
    "multipath": b"\x1e\x0c\x01\x81" + bytes(range(8)),
    "unknown": b"\xc8\x04\xab\xcd",
}


def samples() -> dict[str, bytes]:
    """Return well-formed frames by name: every protocol, message and option that the decoder knows."""
    return {
        **_link_samples(),
        **_ipv4_samples(),
        **_ipv6_samples(),
        **_icmp_samples(),
        **_icmp6_samples(),
        **_tcp_samples(),
        "udp": udp4(b"hello"),
        "udp_odd": udp4(b"odd"),
        "udp_without_checksum": ethernet(ipv4(struct.pack("!HHHH", 40000, 7, 12, 0) + b"none", 17), 0x0800),
        "dns_query": udp4(QUERY.to_wire(), (40000, 53)),
        "dns_answer": udp4(ANSWER.to_wire(), (53, 40000)),
        "dns_tcp": tcp4(struct.pack("!H", len(ANSWER.to_wire())) + ANSWER.to_wire(), flags=0x18, ports=(53, 40000)),
    }


def _link_samples() -> dict[str, bytes]:
    inside = ipv4(udp(b"tagged"), 17)
    return {
        "arp_request": arp(1, HOST, ROUTER),
        "arp_reply": arp(2, ROUTER, HOST),
        "vlan": ethernet(inside, 0x0800, bytes.fromhex("8100b00a")),
        "double_vlan": ethernet(inside, 0x0800, bytes.fromhex("88a8006481000065")),
        "llc": ethernet(bytes.fromhex("424203") + bytes(35) + bytes(8), 38),
        "unknown_ethertype": ethernet(b"experiment", 0x88B5),
        "padded": ethernet(ipv4(udp(b"x"), 17), 0x0800).ljust(60, b"\0"),
    }


def _ipv4_samples() -> dict[str, bytes]:
    whole = udp(bytes(range(64)))
    options = {f"ip_{name}": _with_ip_option(option) for name, option in IP_OPTIONS.items()}
    return options | {
        "ip_first_fragment": ethernet(ipv4(whole[:40], 17, fragment=0x2000), 0x0800),
        "ip_last_fragment": ethernet(ipv4(whole[40:], 17, fragment=5), 0x0800),
        "ip_tos": ethernet(ipv4(udp(b"x"), 17, tos=0xBA, fragment=0, ttl=1), 0x0800),
        "ip_unknown_protocol": ethernet(ipv4(b"routes", 253), 0x0800),
    }


def _with_ip_option(option: bytes) -> bytes:
    # The checksum covers the address at the end of a source route that is not used up.
    dst = FAR if option[0] in {131, 137} else WEB
    return ethernet(ipv4(udp(b"option", dst=dst), 17, options=option), 0x0800)


def _ipv6_samples() -> dict[str, bytes]:
    routed = udp(b"hello", src=HOST6, dst="2001:db8:2::80")
    fragment = struct.pack("!BHI", 0, 1, 99)
    whole = udp(bytes(range(24)), src=HOST6, dst=WEB6)
    return {
        "udp6": ethernet(ipv6(_UDP6, 17), 0x86DD),
        "tcp6": ethernet(ipv6(tcp(b"x", src=HOST6, dst=WEB6, options=TIMESTAMPS), 6), 0x86DD),
        "hop_by_hop": chained([(0, b"\0\x05\x02\0\0\x01\0")], _UDP6, 17),
        "destination_options": chained([(60, b"\0\x01\x04" + bytes(4))], _UDP6, 17),
        "routing": chained([(43, b"\x02\0\x01" + bytes(4) + address("2001:db8:2::80"))], routed, 17),
        "segment_routing": chained([(43, b"\x02\x04\x01\0\0\0\0" + address("2001:db8:2::80"))], routed, 17),
        "authentication": chained([(51, b"\x04\0\0" + struct.pack("!II", 256, 1) + bytes(12))], _UDP6, 17),
        "first_fragment6": chained([(44, fragment)], whole[:16], 17),
        "last_fragment6": chained([(44, struct.pack("!BHI", 0, 16, 99))], whole[16:], 17),
        "atomic_fragment": chained([(44, struct.pack("!BHI", 0, 0, 99))], _UDP6, 17),
        "no_next_header": ethernet(ipv6(b"", 59), 0x86DD),
        "chain": chained(
            [
                (0, b"\0\x01\x04" + bytes(4)),
                (60, b"\0\x01\x04" + bytes(4)),
                (44, struct.pack("!BHI", 0, 0, 5)),
            ],
            _UDP6,
            17,
        ),
    }


def _icmp_samples() -> dict[str, bytes]:
    return {
        "echo_request": icmp4(icmp(8, 0, struct.pack("!HH", 1, 2), b"payload!"), src=HOST, dst=FAR),
        "echo_reply": icmp4(icmp(0, 0, struct.pack("!HH", 1, 2), b"payload!"), src=FAR, dst=HOST),
        "redirect": icmp4(icmp(5, 1, address(BETTER), QUOTED_ECHO)),
        "port_unreachable": icmp4(icmp(3, 3, bytes(4), QUOTED_UDP)),
        "fragmentation_needed": icmp4(icmp(3, 4, struct.pack("!HH", 0, 1200), QUOTED_UDP)),
        "time_exceeded": icmp4(icmp(11, 0, bytes(4), QUOTED_UDP)),
        "short_quote": icmp4(icmp(11, 0, bytes(4), ipv4(tcp(b"", dst=FAR), 6, dst=FAR)[:28])),
        "parameter_problem": icmp4(icmp(12, 0, b"\x14\0\0\0", QUOTED_UDP)),
        "timestamp_request": icmp4(icmp(13, 0, struct.pack("!HH", 3, 4), struct.pack("!III", 1000, 0, 0))),
        "timestamp_reply": icmp4(icmp(14, 0, struct.pack("!HH", 3, 4), struct.pack("!III", 1000, 1005, 1006))),
    }


def _icmp6_samples() -> dict[str, bytes]:
    link_address = b"\x01\x01" + HOST_MAC
    redirected = b"\x04" + bytes([1 + len(QUOTED_TCP6) // 8]) + bytes(6) + QUOTED_TCP6
    advertisement = struct.pack("!BBHII", 64, 0xC8, 1800, 30000, 1000)
    extra = b"\x18\x02\x40\x08" + struct.pack("!I", 600) + address("2001:db8:9::")[:8]
    servers = b"\x19\x03\0\0" + struct.pack("!I", 600) + address("2001:db8:1::53")
    mtu = b"\x05\x01\0\0" + struct.pack("!I", 1400)
    return {
        "echo_request6": nd(128, struct.pack("!HH", 1, 2) + b"payload!"),
        "echo_reply6": nd(129, struct.pack("!HH", 1, 2) + b"payload!"),
        "unreachable6": nd(1, bytes(4) + QUOTED_TCP6),
        "packet_too_big": nd(2, struct.pack("!I", 1280) + QUOTED_TCP6),
        "time_exceeded6": nd(3, bytes(4) + QUOTED_TCP6),
        "parameter_problem6": nd(4, struct.pack("!I", 40) + QUOTED_TCP6),
        "router_solicitation": nd(133, bytes(4) + link_address),
        "router_advertisement": nd(134, advertisement + link_address + mtu + _PREFIX + extra + servers),
        "neighbor_solicitation": nd(135, bytes(4) + address(ROUTER6) + link_address + b"\x0e\x01nonce!"),
        "neighbor_advertisement": nd(136, b"\x60\0\0\0" + address(ROUTER6) + b"\x02\x01" + ROUTER_MAC),
        "redirect6": nd(137, bytes(4) + address("fe80::2") + address(WEB6) + b"\x02\x01" + HOST_MAC + redirected),
        "listener_query": nd(130, struct.pack("!HH", 10000, 0) + bytes(16)),
        "listener_query_v2": nd(130, struct.pack("!HH", 1000, 0) + bytes(16) + b"\x02\x7d\0\x01" + address(HOST6)),
        "listener_report": nd(131, bytes(4) + address("ff02::1:ff00:10")),
        "listener_done": nd(132, bytes(4) + address("ff02::1:ff00:10")),
        "listener_report_v2": nd(143, struct.pack("!HH", 0, 2) + _RECORDS),
    }


def _tcp_samples() -> dict[str, bytes]:
    options = {f"tcp_{name}": tcp4(b"x", flags=0x18, options=option) for name, option in TCP_OPTIONS.items()}
    return options | {
        "tcp_syn_only": tcp4(flags=0x02, ack=0, options=SYN_OPTIONS),
        "tcp_data": tcp4(bytes(range(256)) * 5, flags=0x18, options=TIMESTAMPS),
        "tcp_fin": tcp4(flags=0x11),
        "tcp_reset": tcp4(flags=0x14, seq=0),
        "tcp_urgent": tcp4(b"abc", flags=0x38, urgent=3),
        "tcp_ecn": tcp4(flags=0x1D2),
    }
