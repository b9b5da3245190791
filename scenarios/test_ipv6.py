"""IPv6 headers, one behind the other (the book's 2.7; RFC 8200).

client fd00:1::10 ── lan ── router ── dmz ── server fd00:2::80
"""

import socket
import struct

import pytest

from lab.checks import icmp, ip
from lab.mutants import command, drop, sysctl
from lab.running import Lab
from lab.trace.ipv6 import IPv6
from lab.trace.ipv6_extensions import Fragment
from lab.trace.packet import Packet
from lab.trace.trace import Trace

HEADER, MTU = 40, 1500
HOP_BY_HOP, FRAGMENT, ICMPV6, UDP = 0, 44, 58, 17


def header(packet: Packet) -> IPv6:
    assert isinstance(packet.ip, IPv6)
    return packet.ip


def pinged(lab: Lab, size: int = 56) -> Trace:
    """The packets to the server, as the client's and the server's wires saw them."""
    server = lab["server"].address(version=6)
    with lab.capture("client", "server") as capture:
        assert lab["client"].ping(server, size=size).received == 1
    return capture.trace.where(ip.sent_to(server), lambda packet: packet.icmp6 is None or packet.icmp6.type < 133)


@pytest.mark.topology("dual-stack.yaml")
@pytest.mark.book("2.7")
@pytest.mark.mutant("another hop limit", sysctl("client", "net.ipv6.conf.*.hop_limit", 32))
def test_a_header_has_forty_bytes_and_names_what_follows(lab: Lab) -> None:
    """No options, no sum, no room for fragments: whatever a packet needs beyond addresses stands in headers of its own.

    Next header 58 is ICMPv6. A router takes a hop and touches nothing else.
    """
    first, last = pinged(lab)
    assert (first.node, last.node) == ("client", "server")
    assert header(first).version == 6
    assert header(first).next_header == ICMPV6
    assert header(first).payload_length == first.length - 14 - HEADER
    assert (header(first).hop_limit, header(last).hop_limit) == (64, 63)
    assert first.data[14 + 8 :] == last.data[14 + 8 :]


@pytest.mark.topology("dual-stack.yaml")
@pytest.mark.book("2.7")
@pytest.mark.mutant("frames may be larger", command("client", "ip", "link", "set", "eth0", "mtu", "2000"))
def test_only_the_sender_cuts_and_a_header_of_its_own_says_so(lab: Lab) -> None:
    """Next header 44: the fragment header has what IPv4 keeps in its own, offset, "more follow" and identification.

    Routers never cut; what is too large for them they send back, as "packet too big".
    """
    sent = pinged(lab, MTU).on("client")
    assert [header(packet).next_header for packet in sent] == [FRAGMENT, FRAGMENT]
    assert [type(header(packet).extensions[0]) for packet in sent] == [Fragment, Fragment]
    assert [header(packet).more_fragments for packet in sent] == [True, False]
    assert len({header(packet).id for packet in sent}) == 1
    assert [header(packet).protocol for packet in sent] == [ICMPV6, ICMPV6]


@pytest.mark.topology("dual-stack.yaml")
@pytest.mark.book("2.7")
@pytest.mark.mutant("the way is as wide everywhere", command("client", "ip", "link", "set", "eth0", "mtu", "1280"))
def test_a_router_sends_back_what_is_too_big(lab: Lab) -> None:
    """ICMPv6 type 2 has the next segment's MTU; the sender cuts from then on."""
    server = lab["server"].address(version=6)
    for node in ("router", "server"):
        lab[node].run("ip", "link", "set", lab[node].interface("dmz").name, "mtu", "1280").check()
    with lab["client"].capture() as capture:
        assert lab["client"].ping(server, size=1400, timeout=0.5).received == 0
        assert lab["client"].ping(server, size=1400).received == 1
    too_big = capture.trace.first(icmp.is_too_big)
    assert too_big.icmp6 and too_big.icmp6.mtu == 1280
    assert too_big.ip and too_big.ip.src == lab["router"].address("lan", version=6)
    sent = capture.trace.where(ip.sent_by(lab["client"].address(version=6)), ip.sent_to(server))
    assert [header(packet).is_fragment for packet in sent] == [False, True, True]


@pytest.mark.topology("dual-stack.yaml")
@pytest.mark.book("2.7")
@pytest.mark.mutant("a router will have none of them", drop("router", "forward", "exthdr hbh exists"))
def test_options_for_every_router_come_first(lab: Lab) -> None:
    """Next header 0: hop-by-hop options are the only ones that routers look at, so they follow at once.

    Few networks let such packets through any more (RFC 9098).
    """
    server = lab["server"].address(version=6)
    with lab["server"].capture() as capture, lab["client"].socket(socket.AF_INET6, socket.SOCK_DGRAM) as channel:
        padding = struct.pack("!BBBB4x", 0, 0, 1, 4)  # one option, PadN
        channel.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, padding)
        channel.sendto(b"hello", (server, 9))
        assert lab["client"].ping(server).received == 1
    packet = capture.trace.first(lambda packet: packet.udp is not None)
    assert (header(packet).next_header, header(packet).protocol) == (HOP_BY_HOP, UDP)
    assert packet.payload == b"hello"
