"""ICMP and ICMPv6 with neighbor discovery, listener discovery and the packets that errors quote."""

from __future__ import annotations

import pytest

from lab.trace import ndp
from lab.trace.icmp import ICMP
from lab.trace.icmp6 import ICMP6, NeighborFlags, RouterAdvertisement
from lab.trace.mld import MLD, Record
from lab.trace.packet import decode
from lab.trace.quote import Quoted
from tests import trace_packets as built

SAMPLES = built.samples()
HOST_MAC, ROUTER_MAC = "02:00:00:00:00:10", "02:00:00:00:00:01"


def message(name: str) -> ICMP:
    found = decode(SAMPLES[name]).icmp
    assert found is not None
    return found


def message6(name: str) -> ICMP6:
    found = decode(SAMPLES[name]).icmp6
    assert found is not None
    return found


def quoted(name: str) -> Quoted:
    packet = decode(SAMPLES[name])
    found = (packet.icmp or packet.icmp6).quoted  # type: ignore[union-attr] # an AttributeError fails the test as well
    assert found is not None
    return found


@pytest.mark.parametrize(("name", "type_"), [("echo_request", 8), ("echo_reply", 0)])
def test_an_echo_has_identifier_sequence_number_and_payload(name: str, type_: int) -> None:
    echo = message(name)
    assert (echo.type, echo.code, echo.id, echo.seq) == (type_, 0, 1, 2)
    assert decode(SAMPLES[name]).payload == b"payload!"


def test_a_redirect_names_the_better_gateway_and_quotes_the_packet() -> None:
    redirect = message("redirect")
    assert (redirect.type, redirect.code, redirect.gateway) == (5, 1, "10.0.1.2")
    quote = quoted("redirect")
    assert (quote.ip.src, quote.ip.dst) == ("10.0.1.10", "10.9.0.9")
    assert quote.icmp is not None
    assert (quote.icmp.id, quote.icmp.seq, quote.payload) == (1, 1, b"ping")
    assert quote.malformed == ()


def test_a_quoted_datagram_has_its_ports() -> None:
    assert message("port_unreachable").code == 3
    quote = quoted("port_unreachable")
    assert quote.udp is not None
    assert quote.ports == (40000, 7)


def test_a_quote_of_eight_bytes_still_has_its_ports() -> None:
    quote = quoted("short_quote")
    assert quote.tcp is None
    assert quote.ports == (43210, 80)
    assert quote.malformed == ("tcp: cut off after 8 of 20 bytes",)


def test_a_quote_is_cut_off_by_nature_and_no_fault_of_the_packet() -> None:
    assert decode(SAMPLES["short_quote"]).malformed == ()


def test_fragmentation_needed_carries_the_next_hop_mtu() -> None:
    assert message("fragmentation_needed").mtu == 1200
    assert message("port_unreachable").mtu is None


def test_a_parameter_problem_points_at_the_wrong_byte() -> None:
    assert message("parameter_problem").pointer == 20


def test_a_timestamp_reply_has_three_times() -> None:
    reply = message("timestamp_reply")
    assert (reply.id, reply.seq, reply.timestamps) == (3, 4, (1000, 1005, 1006))


@pytest.mark.parametrize(("name", "type_"), [("echo_request6", 128), ("echo_reply6", 129)])
def test_an_ipv6_echo_has_identifier_and_sequence_number(name: str, type_: int) -> None:
    echo = message6(name)
    assert (echo.type, echo.id, echo.seq) == (type_, 1, 2)


@pytest.mark.parametrize(
    ("name", "type_", "mtu", "pointer"),
    [
        ("unreachable6", 1, None, None),
        ("packet_too_big", 2, 1280, None),
        ("time_exceeded6", 3, None, None),
        ("parameter_problem6", 4, None, 40),
    ],
)
def test_an_ipv6_error_quotes_the_packet(name: str, type_: int, mtu: int | None, pointer: int | None) -> None:
    error = message6(name)
    assert (error.type, error.mtu, error.pointer) == (type_, mtu, pointer)
    quote = quoted(name)
    assert (quote.ip.dst, quote.ports) == ("2001:db8:1::80", (43210, 80))
    assert quote.tcp is not None
    assert quote.tcp.mss == 1460


def test_a_router_solicitation_has_its_sender_s_link_address() -> None:
    assert message6("router_solicitation").options == (ndp.SourceLinkAddress(HOST_MAC),)


def test_a_router_advertisement_is_decoded() -> None:
    advertisement = message6("router_advertisement")
    assert advertisement.router == RouterAdvertisement(
        64, managed=True, other=True, preference=1, lifetime=1800, reachable_time=30000, retransmit_time=1000
    )
    assert advertisement.options == (
        ndp.SourceLinkAddress(HOST_MAC),
        ndp.LinkMtu(1400),
        ndp.PrefixInformation(
            "2001:db8:1::", 64, on_link=True, autonomous=True, valid_lifetime=86400, preferred_lifetime=14400
        ),
        ndp.RouteInformation("2001:db8:9::", 64, 1, 600),
        ndp.DnsServers(600, ("2001:db8:1::53",)),
    )


def test_a_neighbor_solicitation_names_its_target() -> None:
    solicitation = message6("neighbor_solicitation")
    assert (solicitation.target, solicitation.neighbor) == ("fe80::1", None)
    assert solicitation.options == (ndp.SourceLinkAddress(HOST_MAC), ndp.Nonce(b"nonce!"))


def test_a_neighbor_advertisement_has_flags_and_the_target_s_link_address() -> None:
    advertisement = message6("neighbor_advertisement")
    assert advertisement.neighbor == NeighborFlags(router=False, solicited=True, override=True)
    assert (advertisement.target, advertisement.options) == ("fe80::1", (ndp.TargetLinkAddress(ROUTER_MAC),))


@pytest.mark.parametrize(
    ("bits", "flags"), [(0x80, (True, False, False)), (0x40, (False, True, False)), (0x20, (False, False, True))]
)
def test_each_flag_of_a_neighbor_advertisement_has_its_own_bit(bits: int, flags: tuple[bool, bool, bool]) -> None:
    found = decode(built.nd(136, bytes([bits, 0, 0, 0]) + built.address(built.ROUTER6))).icmp6
    assert found is not None
    assert found.neighbor == NeighborFlags(*flags)


def test_an_ipv6_redirect_names_next_hop_and_destination_and_quotes_the_packet() -> None:
    redirect = message6("redirect6")
    assert (redirect.type, redirect.target, redirect.destination) == (137, "fe80::2", "2001:db8:1::80")
    assert quoted("redirect6").ip.dst == "2001:db8:1::80"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("listener_query", MLD(1, "::", 10000)),
        ("listener_query_v2", MLD(2, "::", 1000, sources=("2001:db8:1::10",))),
        ("listener_report", MLD(1, "ff02::1:ff00:10")),
        ("listener_done", MLD(1, "ff02::1:ff00:10")),
        (
            "listener_report_v2",
            MLD(2, records=(Record(4, "ff02::1:ff00:10", ("2001:db8:1::10",)), Record(3, "ff02::16", ()))),
        ),
    ],
)
def test_listener_discovery_is_decoded(name: str, expected: MLD) -> None:
    assert message6(name).mld == expected


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (built.icmp4(b"\x08\0\0\0\0"), "icmp: cut off after 5 of 8 bytes"),
        (
            built.icmp4(built.icmp(13, 0, bytes(4), bytes(8))),
            "icmp: timestamp message cut off after 16 of 20 bytes",
        ),
        (
            built.icmp4(built.icmp(3, 3, bytes(4), built.QUOTED_UDP[:10])),
            "quoted ip: cut off after 10 of 20 bytes",
        ),
        (
            built.icmp4(built.icmp(3, 3, bytes(4), b"\x55" + bytes(19))),
            "quoted ip: version 5 in an IPv4 header",
        ),
        (built.nd(128, b""), "icmp6: cut off after 4 of 8 bytes"),
        (built.nd(135, bytes(8)), "icmp6: message of type 135 cut off after 12 of 24 bytes"),
        (built.nd(133, bytes(4) + b"\x01\0" + bytes(6)), "icmp6: option 1 has length 0"),
        (built.nd(133, bytes(4) + b"\x01\x02" + bytes(6)), "icmp6: option 1 of 16 bytes has only 8"),
        (built.nd(133, bytes(4) + b"\x03\x01" + bytes(6)), "icmp6: option 3 has length 1"),
        (built.nd(133, bytes(4) + b"\x05\x02" + bytes(14)), "icmp6: option 5 has length 2"),
        (built.nd(133, bytes(4) + b"\x18\x04" + bytes(30)), "icmp6: option 24 has length 4"),
        (built.nd(133, bytes(4) + b"\x19\x02" + bytes(14)), "icmp6: option 25 has length 2"),
        (built.nd(131, bytes(10)), "mld: cut off after 14 of 24 bytes"),
        (built.nd(143, b"\0\0\0\x02"), "mld: 0 of 2 records"),
        (built.nd(130, bytes(22) + b"\0\x02" + bytes(16)), "mld: 1 of 2 source addresses"),
    ],
)
def test_every_fault_is_named(frame: bytes, fault: str) -> None:
    assert decode(frame).malformed == (fault,)
