"""The IPv4 header and fragments (the book's 2.2 and 2.3; RFC 791, RFC 1191).

client .10 ── left ── r1 ── a ── r2 ── b ── r3 ── right ── server .10
"""

import socket

import pytest

from lab.checks import icmp, ip, tcp
from lab.mutants import command, drop, sysctl
from lab.probes import tcp_pair
from lab.probes.tcp import read_to_any_end
from lab.probes.tcpinfo import tcp_info
from lab.running import Lab
from lab.trace.icmp import FRAGMENTATION_NEEDED
from lab.trace.ipv4 import IPv4
from lab.trace.packet import Packet
from lab.trace.trace import Trace
from lab.wait import comes_true

ETHERNET, IP_HEADER, ICMP_HEADER, TCP_HEADER = 14, 20, 8, 20
MTU = 1500
NARROW = 1200
PORT = 9
AMOUNT = 20_000  # more than a connection may begin with, and little enough for a send buffer

IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14  # ip(7); Python has no names for them


def header(packet: Packet) -> IPv4:
    assert isinstance(packet.ip, IPv4)
    return packet.ip


def pinged(lab: Lab, size: int) -> Trace:
    """The echo requests with so many bytes of data, as they left the client."""
    with lab["client"].capture() as capture:
        assert lab["client"].ping(lab["server"].address(), size=size).received == 1
    return capture.trace.where(ip.sent_to(lab["server"].address()))


def narrow(lab: Lab) -> None:
    """Let the segment between r1 and r2 carry smaller packets than the others."""
    for router in ("r1", "r2"):
        lab[router].run("ip", "link", "set", lab[router].interface("a").name, "mtu", str(NARROW)).check()


def path_mtu(lab: Lab) -> int:
    """What the client's kernel knows of the way to the server; the interface's own MTU if nothing else."""
    with lab["client"].socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.connect((lab["server"].address(), PORT))
        return channel.getsockopt(socket.IPPROTO_IP, IP_MTU)


def send_unfragmented(lab: Lab, size: int) -> None:
    """Send a datagram of so many bytes, headers included, that nobody may fragment."""
    with lab["client"].socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        channel.sendto(bytes(size - IP_HEADER - 8), (lab["server"].address(), PORT))


@pytest.mark.topology("chain.yaml")
@pytest.mark.book("2.2")
@pytest.mark.mutant("another time to live", sysctl("client", "net.ipv4.ip_default_ttl", 32))
@pytest.mark.mutant("what is large may be fragmented", sysctl("client", "net.ipv4.ip_no_pmtu_disc", 1))
def test_a_header_has_twenty_bytes_and_says_all_that_a_router_needs(lab: Lab) -> None:
    """Without options it is five words long; its sum is of itself alone, so that a router can do it anew at each hop.

    Linux starts with 64 hops, and marks what belongs to TCP "don't fragment": it wants to be told instead where the
    way gets narrow (RFC 1191).
    """
    with lab["client"].capture() as capture, pytest.raises(ConnectionRefusedError):
        lab["client"].connect(lab["server"].address(), PORT)

    packet = capture.trace.first(tcp.is_syn)
    assert header(packet).version == 4
    assert header(packet).header_length == IP_HEADER
    assert packet.length == ETHERNET + header(packet).total_length
    assert (header(packet).src, header(packet).dst) == (lab["client"].address(), lab["server"].address())
    assert header(packet).protocol == socket.IPPROTO_TCP
    assert header(packet).ttl == 64
    assert header(packet).dont_fragment
    assert packet.ip_checksum_ok


@pytest.mark.topology("chain.yaml")
@pytest.mark.book("2.3")
@pytest.mark.mutant("frames may be larger", command("client", "ip", "link", "set", "eth0", "mtu", "1501"))
def test_one_byte_too_many_makes_two_packets_of_one(lab: Lab) -> None:
    """1472 bytes of data, 8 of ICMP's header and 20 of IP's fill an Ethernet frame; `ping -s 1473` is one byte more.

    The first fragment is as full as can be and says that more follow; the second has the last byte, behind an IP header
    of its own. Only the first has the ICMP header: whoever looks at the second alone cannot tell what it belongs to.
    """
    fits = MTU - IP_HEADER - ICMP_HEADER
    (whole,) = pinged(lab, fits)
    assert header(whole).total_length == MTU
    assert not header(whole).is_fragment

    first, last = pinged(lab, fits + 1)
    assert header(first).id == header(last).id
    assert [header(packet).total_length for packet in (first, last)] == [MTU, IP_HEADER + 1]
    assert [header(packet).fragment_offset for packet in (first, last)] == [0, MTU - IP_HEADER]
    assert [header(packet).more_fragments for packet in (first, last)] == [True, False]
    assert first.icmp
    assert last.icmp is None


@pytest.mark.topology("chain.yaml")
@pytest.mark.book("2.3")
@pytest.mark.mutant("the sender cuts it itself", command("client", "ip", "link", "set", "eth0", "mtu", str(NARROW)))
@pytest.mark.mutant("the receiver's parts never meet", drop("server", "prerouting", "ip frag-off & 0x1fff != 0"))
def test_a_router_cuts_what_the_next_segment_cannot_carry_and_the_receiver_joins_it(lab: Lab) -> None:
    """Without "don't fragment" a router in the middle may cut a packet, and only the receiver puts it together again.

    ICMP echo requests of a raw socket do not forbid it, so the client's one packet is two at the server, and the
    routers behind pass them on as they are.
    """
    narrow(lab)
    client, server = lab["client"], lab["server"]
    client.sysctl("net.ipv4.ip_no_pmtu_disc", 1)  # or it would not let itself be cut
    with lab.capture("client", "server") as capture:
        assert client.ping(server.address(), size=1400).received == 1
    requests = capture.trace.where(ip.sent_to(server.address()))
    assert [header(packet).is_fragment for packet in requests.on("client")] == [False]
    arrived = [header(packet) for packet in requests.on("server")]
    assert [one.more_fragments for one in arrived] == [True, False]
    assert sum(one.body_length for one in arrived) == 1400 + ICMP_HEADER
    assert max(one.total_length for one in arrived) <= NARROW


@pytest.mark.topology("chain.yaml")
@pytest.mark.book("2.3")
@pytest.mark.mutant("the router keeps it to itself", drop("r1", "output", "icmp type destination-unreachable"))
@pytest.mark.mutant("the client does not listen", sysctl("client", "net.ipv4.ip_no_pmtu_disc", 2))
def test_a_router_tells_the_sender_how_narrow_the_way_is(lab: Lab) -> None:
    """What must not be fragmented and does not fit is dropped, and the sender hears of it: ICMP type 3, code 4.

    The message has the next segment's MTU (RFC 1191) and the header of what was dropped. The sender's kernel notes it
    for this destination for ten minutes; a program that tries again is told at once, and nothing is sent.
    """
    narrow(lab)
    client = lab["client"]
    assert path_mtu(lab) == MTU
    with client.capture() as capture:
        send_unfragmented(lab, MTU)
        assert comes_true(lambda: path_mtu(lab) == NARROW)
        with pytest.raises(OSError, match="Message too long"):
            send_unfragmented(lab, MTU)
        send_unfragmented(lab, NARROW)

    told = capture.trace.first(icmp.is_unreachable)
    assert told.ip and told.ip.src == lab["r1"].address("left")
    assert told.icmp and (told.icmp.code, told.icmp.mtu) == (FRAGMENTATION_NEEDED, NARROW)
    assert told.icmp.quoted and told.icmp.quoted.ip.dst == lab["server"].address()
    sent = capture.trace.where(ip.sent_by(client.address()))
    assert [header(packet).total_length for packet in sent] == [MTU, NARROW]
    route = client.route_to(lab["server"].address())
    assert route["metrics"][0]["mtu"] == NARROW
    assert 0 < route["expires"] <= 600


def first_byte(segments: Trace) -> int:
    """The sequence number with which segments begin."""
    opening = segments[0].tcp
    assert opening
    return opening.seq


@pytest.mark.topology("chain.yaml")
@pytest.mark.book("2.3")
@pytest.mark.mutant("the router keeps it to itself", drop("r1", "output", "icmp type destination-unreachable"))
@pytest.mark.mutant("what is large may be fragmented", sysctl("client", "net.ipv4.ip_no_pmtu_disc", 1))
@pytest.mark.mutant("all segments are small", command("client", "ip", "link", "set", "eth0", "mtu", str(NARROW)))
def test_segments_become_smaller_once_a_router_has_complained(lab: Lab) -> None:
    """In the handshake each end tells how much its own network can carry; of those between, neither knows.

    So TCP begins with segments that are too large. The router drops every one of them and tells of each; the kernel
    cuts the same bytes into smaller ones and sends them again, each of them the narrow network's MTU less the headers
    of IP and TCP (1148 bytes of 1200, with timestamps). The programs at the ends do not notice. With a firewall that
    drops all ICMP this would be a connection that is made, and that then carries nothing.
    """
    narrow(lab)
    client, server = tcp_pair.connect(lab["client"], lab["server"])
    with client, server, lab["client"].capture() as capture:
        at_first = tcp_info(client)
        client.sendall(bytes(AMOUNT))
        client.shutdown(socket.SHUT_WR)
        assert read_to_any_end(server) == bytes(AMOUNT)
        at_last = tcp_info(client)

    told = capture.trace.where(icmp.is_unreachable)
    assert {(one.icmp.code, one.icmp.mtu) for one in told if one.icmp} == {(FRAGMENTATION_NEEDED, NARROW)}
    data = capture.trace.where(ip.sent_by(lab["client"].address()), tcp.has_data)
    large = data.where(lambda packet: header(packet).total_length > NARROW)
    small = data.where(lambda packet: header(packet).total_length <= NARROW)
    assert {header(packet).total_length for packet in large} == {MTU}
    assert large[0].time_ns < told[0].time_ns < small[0].time_ns
    assert large[-1].time_ns < small[0].time_ns
    assert first_byte(small) == first_byte(large)
    assert max(packet.payload_length for packet in small) == at_last.snd_mss == at_first.snd_mss - (MTU - NARROW)
    assert at_last.pmtu == NARROW
