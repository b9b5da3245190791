"""The layers below TCP and ICMP: Ethernet, ARP, IPv4, IPv6, UDP, DNS, checksums."""

from __future__ import annotations

import struct

import pytest

from lab.trace import ipv4_options as v4
from lab.trace.ethernet import Vlan
from lab.trace.ipv4 import IPv4
from lab.trace.ipv6 import IPv6
from lab.trace.ipv6_extensions import (
    MOST_HEADERS,
    Authentication,
    DestinationOptions,
    Fragment,
    HeaderOption,
    HopByHop,
    Routing,
)
from lab.trace.packet import decode
from tests import trace_packets as built

SAMPLES = built.samples()
UNUSED = "0.0.0.0"  # noqa: S104 - an empty slot of a record route, no socket


@pytest.mark.parametrize("name", SAMPLES)
def test_a_well_formed_frame_has_no_fault_and_right_checksums(name: str) -> None:
    packet = decode(SAMPLES[name])
    assert packet.malformed == ()
    assert packet.checksum_ok is not False


def test_what_the_capture_knows_is_kept_with_the_packet() -> None:
    frame = SAMPLES["udp"]
    packet = decode(frame, length=900, time_ns=5, node="host", interface="eth0", direction="out")
    assert (packet.time_ns, packet.node, packet.interface, packet.direction) == (5, "host", "eth0", "out")
    assert (packet.length, packet.data) == (900, frame)


def test_an_ethernet_header_is_decoded() -> None:
    eth = decode(SAMPLES["udp"]).eth
    assert eth is not None
    assert (eth.dst, eth.src, eth.type) == ("02:00:00:00:00:01", "02:00:00:00:00:10", 0x0800)


def test_vlan_tags_are_listed_from_the_outside_in() -> None:
    packet = decode(SAMPLES["double_vlan"])
    assert packet.eth is not None
    assert packet.eth.vlans == (
        Vlan(0x88A8, 0, drop_eligible=False, id=100),
        Vlan(0x8100, 0, drop_eligible=False, id=101),
    )
    assert packet.eth.type == 0x0800
    assert packet.payload == b"tagged"


def test_a_vlan_tag_has_priority_and_drop_eligibility() -> None:
    eth = decode(SAMPLES["vlan"]).eth
    assert eth is not None
    assert eth.vlans == (Vlan(0x8100, 5, drop_eligible=True, id=10),)


def test_the_body_of_an_802_3_frame_is_payload_without_the_padding() -> None:
    packet = decode(SAMPLES["llc"])
    assert len(packet.payload) == 38
    assert packet.payload.startswith(bytes.fromhex("424203"))


def test_the_body_of_an_unknown_ethertype_is_payload() -> None:
    assert decode(SAMPLES["unknown_ethertype"]).payload == b"experiment"


def test_ethernet_padding_is_no_payload() -> None:
    assert decode(SAMPLES["padded"]).payload == b"x"


def test_an_arp_message_is_decoded() -> None:
    packet = decode(SAMPLES["arp_request"])
    assert packet.arp is not None
    assert packet.arp.operation == 1
    assert (packet.arp.sender_mac, packet.arp.sender_ip) == ("02:00:00:00:00:10", "10.0.1.10")
    assert (packet.arp.target_mac, packet.arp.target_ip) == ("00:00:00:00:00:00", "10.0.1.1")
    assert packet.payload == b""


def test_addresses_of_another_protocol_than_ipv4_stay_hexadecimal_in_arp() -> None:
    body = struct.pack("!HHBBH", 1, 0x1234, 6, 2, 1) + bytes(6) + b"\xab\xcd" + bytes(6) + b"\x12\x34"
    message = decode(built.ethernet(body, 0x0806)).arp
    assert message is not None
    assert (message.sender_ip, message.target_ip) == ("ab:cd", "12:34")


def test_an_ipv4_header_is_decoded() -> None:
    ip = decode(SAMPLES["ip_tos"]).ip
    assert isinstance(ip, IPv4)
    assert (ip.src, ip.dst, ip.protocol, ip.ttl, ip.id) == ("10.0.1.10", "10.0.1.80", 17, 1, 4711)
    assert (ip.dscp, ip.ecn, ip.dont_fragment, ip.header_length, ip.total_length) == (46, 2, False, 20, 29)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nop_end", (v4.NoOperation(), v4.EndOfOptions())),
        ("record_route", (v4.RecordRoute(8, (built.ROUTER, UNUSED)), v4.EndOfOptions())),
        ("loose_source_route", (v4.LooseSourceRoute(4, (built.BETTER, built.FAR)), v4.EndOfOptions())),
        ("strict_source_route", (v4.StrictSourceRoute(8, (built.BETTER, built.FAR)), v4.EndOfOptions())),
        ("timestamp", (v4.Timestamp(9, 2, 0, ((None, 3600000), (None, 0))),)),
        ("timestamp_address", (v4.Timestamp(13, 0, 1, ((built.ROUTER, 3600000),)),)),
        ("timestamp_prespecified", (v4.Timestamp(13, 1, 3, ((built.ROUTER, 3600000), (built.BETTER, 0))),)),
        ("router_alert", (v4.RouterAlert(0),)),
        ("unknown", (v4.UnknownOption(0x5E, b"\xab\xcd"),)),
    ],
)
def test_every_ipv4_option_is_decoded(name: str, options: tuple[v4.Option, ...]) -> None:
    ip = decode(SAMPLES[f"ip_{name}"]).ip
    assert isinstance(ip, IPv4)
    assert ip.options == options


def test_a_route_tells_which_of_its_addresses_are_used() -> None:
    assert v4.RecordRoute(8, (built.ROUTER, UNUSED)).used == (built.ROUTER,)
    assert v4.RecordRoute(4, (built.ROUTER,)).used == ()


def test_a_first_fragment_has_its_transport_header_and_no_checksum_verdict() -> None:
    packet = decode(SAMPLES["ip_first_fragment"])
    assert packet.ip is not None
    assert packet.ip.is_fragment
    assert packet.udp is not None
    assert packet.udp.length == 72
    assert packet.payload == bytes(range(32))
    assert packet.transport_checksum_ok is None
    assert packet.ip_checksum_ok is True


def test_a_later_fragment_has_no_transport_layer() -> None:
    packet = decode(SAMPLES["ip_last_fragment"])
    assert packet.ip is not None
    assert (packet.ip.fragment_offset, packet.ip.more_fragments, packet.udp) == (40, False, None)
    assert packet.payload == bytes(range(32, 64))


def test_an_ipv6_header_is_decoded() -> None:
    ip = decode(SAMPLES["udp6"]).ip
    assert isinstance(ip, IPv6)
    assert (ip.src, ip.dst, ip.protocol, ip.hop_limit) == ("2001:db8:1::10", "2001:db8:1::80", 17, 64)
    assert (ip.dscp, ip.ecn, ip.flow_label, ip.payload_length) == (10, 3, 0x12345, 13)


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("hop_by_hop", HopByHop((HeaderOption(5, b"\0\0"), HeaderOption(1, b"")))),
        ("destination_options", DestinationOptions((HeaderOption(1, bytes(4)),))),
        ("routing", Routing(0, 1, ("2001:db8:2::80",), bytes(4) + built.address("2001:db8:2::80"))),
        ("segment_routing", Routing(4, 1, ("2001:db8:2::80",), bytes(4) + built.address("2001:db8:2::80"))),
        ("authentication", Authentication(256, 1, bytes(12))),
        ("first_fragment6", Fragment(0, more=True, id=99)),
        ("atomic_fragment", Fragment(0, more=False, id=99)),
    ],
)
def test_every_ipv6_extension_header_is_decoded(name: str, extension: object) -> None:
    packet = decode(SAMPLES[name])
    assert isinstance(packet.ip, IPv6)
    assert packet.ip.extensions == (extension,)
    assert packet.ip.protocol == 17
    assert packet.udp is not None


def test_extension_headers_are_listed_in_order() -> None:
    ip = decode(SAMPLES["chain"]).ip
    assert isinstance(ip, IPv6)
    assert [type(header) for header in ip.extensions] == [HopByHop, DestinationOptions, Fragment]
    assert not ip.is_fragment


def test_a_later_ipv6_fragment_has_no_transport_layer() -> None:
    packet = decode(SAMPLES["last_fragment6"])
    assert packet.ip is not None
    assert (packet.ip.fragment_offset, packet.ip.id, packet.udp) == (16, 99, None)
    assert packet.payload == bytes(range(8, 24))


def test_a_later_ipv6_fragment_s_bytes_are_not_taken_for_more_headers() -> None:
    packet = decode(built.chained([(44, struct.pack("!BHI", 0, 16, 99))], b"\x11\0\x01\x04\0\0\0\0", 60))
    assert isinstance(packet.ip, IPv6)
    assert [type(header) for header in packet.ip.extensions] == [Fragment]
    assert (packet.ip.protocol, len(packet.payload)) == (60, 8)


def test_an_endless_chain_of_extension_headers_is_cut_and_marked() -> None:
    headers = [(60, b"\0\x01\x04" + bytes(4))] * (MOST_HEADERS + 1)
    packet = decode(built.chained(headers, b"", 59))
    assert isinstance(packet.ip, IPv6)
    assert len(packet.ip.extensions) == MOST_HEADERS
    assert packet.malformed == ("ip: more than 32 extension headers",)


def test_udp_is_decoded() -> None:
    packet = decode(SAMPLES["udp"])
    assert packet.udp is not None
    assert (packet.udp.source_port, packet.udp.destination_port, packet.udp.length) == (40000, 7, 13)
    assert packet.payload == b"hello"


@pytest.mark.parametrize("name", ["dns_query", "dns_answer", "dns_tcp"])
def test_a_dns_message_is_read_from_udp_and_tcp(name: str) -> None:
    message = decode(SAMPLES[name]).dns
    assert message is not None
    assert message.id == 7
    assert message.question == built.QUERY.question


@pytest.mark.parametrize(
    "frame",
    [
        SAMPLES["udp"],
        SAMPLES["dns_query"][:-1],
        built.udp4(b"\0\x07\xff", (40000, 53)),
        built.tcp4(b"\0", ports=(40000, 53)),
        built.tcp4(b"\0\x64only a part", ports=(40000, 53)),
    ],
)
def test_what_is_no_whole_dns_message_gives_none(frame: bytes) -> None:
    assert decode(frame).dns is None


@pytest.mark.parametrize("name", ["udp", "udp6", "udp_odd", "tcp_data", "tcp6", "echo_request", "echo_request6"])
def test_a_flipped_bit_in_the_payload_is_seen_in_the_checksum(name: str) -> None:
    frame = bytearray(SAMPLES[name])
    frame[-1] ^= 1
    packet = decode(bytes(frame))
    assert packet.transport_checksum_ok is False
    assert packet.checksum_ok is False
    assert packet.ip_checksum_ok is not False


def test_a_flipped_bit_in_the_ipv4_header_is_seen_in_its_checksum() -> None:
    frame = bytearray(SAMPLES["udp"])
    frame[22] ^= 1  # the TTL, which the pseudo header has not
    packet = decode(bytes(frame))
    assert (packet.ip_checksum_ok, packet.transport_checksum_ok) == (False, True)


def test_the_checksum_of_a_frame_captured_in_part_is_not_known() -> None:
    packet = decode(SAMPLES["tcp_data"][:100], length=len(SAMPLES["tcp_data"]))
    assert packet.transport_checksum_ok is None
    assert packet.malformed == ()
    assert (packet.payload_length, len(packet.payload)) == (1280, 34)


def test_a_missing_udp_checksum_is_allowed_in_ipv4_only() -> None:
    assert decode(SAMPLES["udp_without_checksum"]).transport_checksum_ok is None
    frame = bytearray(SAMPLES["udp6"])
    frame[60:62] = b"\0\0"
    assert decode(bytes(frame)).transport_checksum_ok is False


def test_zeros_are_no_checksum() -> None:
    assert decode(built.icmp4(bytes(12))).transport_checksum_ok is False


def test_an_arp_packet_has_no_checksum_to_judge() -> None:
    assert decode(SAMPLES["arp_request"]).checksum_ok is None


def _changed(name: str, offset: int, value: bytes) -> bytes:
    return SAMPLES[name][:offset] + value + SAMPLES[name][offset + len(value) :]


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (b"", "eth: cut off after 0 of 14 bytes"),
        (SAMPLES["vlan"][:16], "eth: cut off inside a VLAN tag"),
        (_changed("llc", 12, b"\0\x60"), "eth: length 96, but the frame has 46 bytes"),
        (SAMPLES["arp_request"][:20], "arp: cut off after 6 of 8 bytes"),
        (SAMPLES["arp_request"][:40], "arp: cut off after 26 of 28 bytes"),
        (SAMPLES["udp"][:30], "ip: cut off after 16 of 20 bytes"),
        (_changed("udp", 14, b"\x65"), "ip: version 6 in an IPv4 header"),
        (_changed("udp", 14, b"\x44"), "ip: header length 16 is below 20"),
        (_changed("udp", 16, b"\0\x0a"), "ip: total length 10 is below the header's 20"),
        (_changed("udp", 16, b"\x01\0"), "ip: total length 256, but the frame has 33 bytes"),
        (_changed("ip_record_route", 35, b"\x01"), "ip: option 7 has length 1"),
        (_changed("ip_record_route", 35, b"\x20"), "ip: option 7 of 32 bytes has only 12"),
        (_changed("ip_record_route", 35, b"\x0a"), "ip: option 7 has length 10"),
        (_changed("ip_nop_end", 34, b"\x01\x01\x01\x07"), "ip: option 7 has no length"),
        (_changed("ip_timestamp", 35, b"\x03\x09\x20\0"), "ip: option 68 has length 3"),
        (SAMPLES["udp6"][:40], "ip: cut off after 26 of 40 bytes"),
        (_changed("udp6", 14, b"\x40"), "ip: version 4 in an IPv6 header"),
        (_changed("udp6", 18, b"\x01\0"), "ip: payload length 256, but the frame has 13 bytes"),
        (_changed("hop_by_hop", 55, b"\x09"), "ip: extension header 0 cut off after 21 of 80 bytes"),
        (_changed("hop_by_hop", 57, b"\x09"), "ip: option 5 does not fit its extension header"),
        (_changed("routing", 57, b"\x02"), "ip: routing header has 2 segments left of 1"),
        (_changed("segment_routing", 58, b"\x01"), "ip: routing header of 24 bytes for 2 addresses"),
        (_changed("authentication", 55, b"\0"), "ip: authentication header of 8 bytes"),
        (SAMPLES["udp"][:40], "udp: cut off after 6 of 8 bytes"),
        (_changed("udp", 38, b"\0\x07"), "udp: length 7 is below 8"),
        (_changed("udp", 38, b"\0\x40"), "udp: length 64, but IP carries 13 bytes"),
    ],
)
def test_every_fault_is_named(frame: bytes, fault: str) -> None:
    assert fault in decode(frame).malformed
