"""The predicates: each holds for its packets, and for no other of the samples."""

from __future__ import annotations

import pytest

from lab.checks import arp, icmp, ip, tcp
from lab.errors import UsageError
from lab.trace.packet import decode
from lab.trace.trace import Predicate
from tests import trace_packets as built

PACKETS = {name: decode(frame) for name, frame in built.samples().items()}


def names(predicate: Predicate) -> set[str]:
    return {name for name, packet in PACKETS.items() if predicate(packet)}


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        (icmp.is_echo_request, {"echo_request", "echo_request6"}),
        (icmp.is_echo_reply, {"echo_reply", "echo_reply6"}),
        (icmp.is_redirect, {"redirect", "redirect6"}),
        (icmp.is_time_exceeded, {"time_exceeded", "short_quote", "time_exceeded6"}),
        (icmp.is_unreachable, {"port_unreachable", "fragmentation_needed", "unreachable6"}),
        (icmp.is_too_big, {"packet_too_big"}),
        (arp.is_request, {"arp_request"}),
        (arp.is_reply, {"arp_reply"}),
        (arp.is_gratuitous, set()),
        (tcp.is_syn, {"tcp_syn_only"}),
        (tcp.is_syn_ack, {"tcp_ecn"}),
        (tcp.is_fin, {"tcp_fin"}),
        (tcp.is_reset, {"tcp_reset"}),
        (ip.is_fragment, {"ip_first_fragment", "ip_last_fragment", "first_fragment6", "last_fragment6"}),
    ],
)
def test_a_predicate_holds_for_its_packets_only(predicate: Predicate, expected: set[str]) -> None:
    assert names(predicate) == expected


def test_a_segment_with_payload_has_data_and_a_bare_one_has_not() -> None:
    with_data = names(tcp.has_data)
    assert {"tcp_data", "tcp6", "dns_tcp"} <= with_data
    assert with_data.isdisjoint({"tcp_fin", "tcp_reset", "tcp_syn_only", "udp"})


@pytest.mark.parametrize("operation", [1, 2])
def test_an_announcement_of_one_s_own_address_is_gratuitous(operation: int) -> None:
    assert arp.is_gratuitous(decode(built.arp(operation, built.HOST, built.HOST)))


def test_packets_are_found_by_sender_and_receiver() -> None:
    assert names(ip.sent_by(built.FAR)) == {"echo_reply"}
    assert names(ip.sent_to(built.FAR)) == {"echo_request"}
    assert "redirect6" in names(ip.sent_by("fe80::10"))


def test_an_address_may_be_written_in_any_of_its_forms() -> None:
    assert names(ip.sent_to("2001:DB8:1:0::80")) == names(ip.sent_to("2001:db8:1::80"))
    assert "udp6" in names(ip.sent_to("2001:DB8:1:0::80"))


@pytest.mark.parametrize("wrong", ["10.0.1.1/24", "host", "", "10.0.1", "::g", "\0"])
@pytest.mark.parametrize("make", [ip.sent_by, ip.sent_to])
def test_what_is_no_address_is_refused_at_once(make: type, wrong: str) -> None:
    with pytest.raises(UsageError, match="is not an IP address"):
        make(wrong)
