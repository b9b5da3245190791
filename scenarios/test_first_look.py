"""A first look at a network (the book's chapter 1): who sends what to whom before anything can be said.

ARP finds the hardware address of a neighbour (RFC 826), the router carries packets to everybody else, and DNS
finds the address of a name (RFC 1035).
"""

import errno
import socket
from itertools import pairwise

import pytest

from lab.checks import arp, dns, icmp
from lab.mutants import command, reconfigured, sysctl
from lab.node import Node
from lab.running import Lab
from lab.trace.ipv4 import IPv4
from lab.trace.packet import Packet

BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"
MISSING = "10.0.1.77"
ARP_FRAME = 14 + 28  # bytes: Ethernet's header and the message; a wire would pad it to 60


def is_sent(packet: Packet) -> bool:
    return packet.direction == "out"


def mac(node: Node) -> str:
    """The hardware address of a node's only interface."""
    return node.interface().mac


def neighbours(node: Node) -> dict[str, str]:
    """The node's ARP table: hardware addresses by IP address."""
    lines = node.run("ip", "neigh", "show").check().stdout.splitlines()
    fields = [line.split() for line in lines if " lladdr " in line]
    return {found[0]: found[found.index("lladdr") + 1] for found in fields}


def asked_for(node: Node, destination: str, *, answered: int = 1) -> list[str]:
    """The addresses that the node asked the hardware addresses of, for one ping."""
    with node.capture() as capture:
        assert node.ping(destination, timeout=1.0 if answered else 0.2).received == answered
    return [packet.arp.target_ip for packet in capture.trace.where(arp.is_request, is_sent) if packet.arp]


def remember(lab: Lab) -> None:
    """Let a know b's hardware address for ever."""
    entry = lab["b"].address(), "lladdr", mac(lab["b"]), "dev", "eth0", "nud", "permanent"
    lab["a"].run("ip", "neigh", "replace", *entry).check()


@pytest.mark.book("1.5.3")
@pytest.mark.topology("lan.yaml")
@pytest.mark.mutant("a knows b already", remember)
@pytest.mark.mutant("b answers no question", sysctl("b", "net.ipv4.conf.*.arp_ignore", 8))
@pytest.mark.mutant("c has b's address too", command("c", "ip", "addr", "add", "10.0.1.2/24", "dev", "eth0"))
def test_everybody_hears_the_question_and_one_answers_the_asker_alone(lab: Lab) -> None:
    """Who has 10.0.1.2? The request is broadcast, for nobody knows yet whom to ask; the reply goes back to one.

    Each is a frame of 42 bytes. The request leaves the wanted hardware address empty and gives the asker's own,
    so that b need not ask in its turn.
    """
    a, b = lab["a"], lab["b"]
    with lab.capture() as capture:
        assert a.ping(b.address()).received == 1

    requests = capture.trace.where(arp.is_request)
    request = requests.first(is_sent)
    assert request.eth and request.arp
    assert (request.eth.src, request.eth.dst) == (mac(a), BROADCAST)
    assert (request.arp.sender_mac, request.arp.sender_ip) == (mac(a), a.address())
    assert (request.arp.target_mac, request.arp.target_ip) == (NOBODY, b.address())
    assert sorted(packet.node for packet in requests) == ["a", "b", "c", "d", "e"]

    replies = capture.trace.where(arp.is_reply)
    reply = replies.first(is_sent)
    assert reply.eth and reply.arp
    assert (reply.eth.src, reply.eth.dst) == (mac(b), mac(a))
    assert (reply.arp.sender_mac, reply.arp.sender_ip) == (mac(b), b.address())
    assert [packet.node for packet in replies] == ["b", "a"]

    assert request.length == reply.length == ARP_FRAME
    assert capture.trace.first(icmp.is_echo_request).time_ns > reply.time_ns
    assert neighbours(b) == {a.address(): mac(a)}


@pytest.mark.book("1.5.2")
@pytest.mark.topology("lan.yaml")
@pytest.mark.mutant("the entry is permanent", remember)
@pytest.mark.mutant("nobody asks", command("a", "ip", "link", "set", "eth0", "arp", "off"))
def test_a_host_asks_only_for_what_its_table_lacks(lab: Lab) -> None:
    """The answer stays in the ARP table: the next packet goes without a question, until the entry is deleted."""
    a, b = lab["a"], lab["b"].address()
    assert neighbours(a) == {}

    assert asked_for(a, b) == [b]
    assert neighbours(a) == {b: mac(lab["b"])}
    assert asked_for(a, b) == []

    a.run("ip", "neigh", "del", b, "dev", "eth0").check()
    assert neighbours(a) == {}
    assert asked_for(a, b) == [b]


@pytest.mark.book("1.5.2")
@pytest.mark.topology("lan.yaml")
@pytest.mark.mutant("c forwards", sysctl("c", "net.ipv4.ip_forward", 1))
def test_a_host_believes_its_table_even_where_it_is_wrong(lab: Lab) -> None:
    """An entry made by hand is not checked: packets for b go to c, which drops what is not for it.

    Had c never sent anything, the switch would not know where it is and hand its frames to everybody.
    """
    a, b, c = lab["a"], lab["b"], lab["c"]
    assert c.ping(a.address()).received == 1
    a.run("ip", "neigh", "add", b.address(), "lladdr", mac(c), "dev", "eth0", "nud", "permanent").check()

    with lab.capture() as capture:
        assert a.ping(b.address(), timeout=0.2).received == 0

    assert [packet.node for packet in capture.trace.where(icmp.is_echo_request)] == ["a", "c"]
    assert not capture.trace.on("a").where(arp.is_request)


@pytest.mark.book("1.5.3")
@pytest.mark.topology("lan.yaml", sysctls={"a": {"net.ipv4.neigh.eth0.retrans_time_ms": 100}})
@pytest.mark.mutant("there is such a host", command("c", "ip", "addr", "add", f"{MISSING}/24", "dev", "eth0"))
@pytest.mark.mutant("a asks once only", sysctl("a", "net.ipv4.neigh.eth0.mcast_solicit", 1))
def test_a_host_that_nobody_is_gets_asked_for_three_times(lab: Lab) -> None:
    """Three requests, then the caller is told "no route to host" (EHOSTUNREACH); nothing of its own was sent.

    The kernel waits a second behind each request. Here it waits 100 ms, to be done sooner.
    """
    a = lab["a"]
    with a.capture() as capture, a.socket(socket.AF_INET, socket.SOCK_STREAM) as channel:
        channel.settimeout(5)
        assert channel.connect_ex((MISSING, 80)) == errno.EHOSTUNREACH

    requests = capture.trace.where(arp.is_request)
    assert [packet.eth.dst for packet in requests if packet.eth] == [BROADCAST] * 3
    assert len(requests) == len(capture.trace)
    tick = 0.01  # of the kernel's clock, at the longest
    times = [packet.time_ns / 1e9 for packet in requests]
    assert all(later - earlier >= 0.1 - tick for earlier, later in pairwise(times))
    assert MISSING not in neighbours(a)


@pytest.mark.book("1.4")
@pytest.mark.topology("first-look.yaml", reuse=True)
@pytest.mark.mutant("the router does not forward", sysctl("router", "net.ipv4.ip_forward", 0))
def test_every_node_reaches_every_other(lab: Lab) -> None:
    """Neighbours directly, all others by way of the router."""
    unreached = [
        (node.name, address)
        for node in lab
        for other in lab
        for address in [other.address(interface.network) for interface in other.plan.interfaces]
        if other is not node and not node.ping(address).received
    ]
    assert unreached == []


@pytest.mark.book("1.4")
@pytest.mark.topology("first-look.yaml")
@pytest.mark.mutant("the router does not forward", sysctl("router", "net.ipv4.ip_forward", 0))
def test_the_way_to_another_network_begins_with_the_routers_hardware_address(lab: Lab) -> None:
    """A host asks for its neighbour's hardware address or for its router's, never for that of a host beyond.

    The packet on both networks is the same, addressed from end to end; the frame around it is another on each.
    """
    left, router, server = lab["left"], lab["router"], lab["dns"]
    with lab.capture() as capture:
        assert left.ping(server.address()).received == 1

    asked = [packet.arp.target_ip for packet in capture.trace.on("left").where(arp.is_request) if packet.arp]
    assert asked == [router.address("lan")]
    sent, forwarded = capture.trace.where(icmp.is_echo_request, is_sent)
    assert sent.eth and forwarded.eth
    assert isinstance(sent.ip, IPv4) and isinstance(forwarded.ip, IPv4)
    assert (sent.eth.src, sent.eth.dst) == (mac(left), router.interface("lan").mac)
    assert (forwarded.eth.src, forwarded.eth.dst) == (router.interface("beyond").mac, mac(server))
    assert (sent.ip.src, sent.ip.dst) == (forwarded.ip.src, forwarded.ip.dst) == (left.address(), server.address())
    assert (sent.ip.ttl, forwarded.ip.ttl) == (64, 63)


def look_up(node: Node, name: str) -> str:
    """The first address that the node's own resolver finds for a name, "" if it finds none."""
    found = node.run("getent", "ahostsv4", name).stdout.split()
    return found[0] if found else ""


@pytest.mark.book("1.6.2")
@pytest.mark.topology("first-look.yaml")
@pytest.mark.mutant(
    "the hosts file has the name", command("left", "sh", "-c", "echo 10.0.1.11 www.example.test >>/etc/hosts")
)
def test_the_resolver_asks_the_server_that_resolv_conf_names(lab: Lab) -> None:
    """Every program reads the server's address from /etc/resolv.conf; write another one there, and it is asked."""
    left, router, server = lab["left"], lab["router"], lab["dns"]
    with left.capture() as capture:
        assert look_up(left, "www.example.test") == lab["right"].address()
        left.run("tee", "/etc/resolv.conf", stdin=f"nameserver {router.address('lan')}\n".encode()).check()
        assert look_up(left, "www.example.test") == ""

    asked = [packet.ip.dst for packet in capture.trace.where(dns.is_query) if packet.ip]
    assert list(dict.fromkeys(asked)) == [server.address(), router.address("lan")]
    refusal = capture.trace.first(icmp.is_unreachable)
    assert refusal.ip and refusal.ip.src == router.address("lan")


@pytest.mark.book("1.6.3")
@pytest.mark.topology("first-look.yaml")
@pytest.mark.mutant(
    "the name is no alias",
    reconfigured("dns", "dnsmasq", "cname=www.example.test,web.example.test", "address=/www.example.test/10.0.1.11"),
)
@pytest.mark.mutant(
    "the hosts file has the name", command("left", "sh", "-c", "echo 10.0.1.11 www.example.test >>/etc/hosts")
)
def test_one_question_and_one_answer_find_the_address_of_a_name(lab: Lab) -> None:
    """Two datagrams, to port 53 and back, tied together by the query's number.

    The query's flags (0x0100) ask for recursion. The answer's (0x8580) say that it is one, with authority, that
    recursion was wanted and is on offer, and that all went well. The name is an alias here, so the answer has two
    records: whose alias it is (CNAME), and that one's address (A).
    """
    left, server = lab["left"], lab["dns"]
    with left.capture() as capture:
        assert look_up(left, "www.example.test") == lab["right"].address()

    datagrams = capture.trace.where(lambda packet: packet.udp is not None)
    assert len(datagrams) == 2
    query, answer = datagrams
    assert query.ip and query.udp and query.dns and answer.ip and answer.udp and answer.dns
    assert (query.ip.dst, query.udp.destination_port) == (server.address(), 53)
    assert (answer.ip.src, answer.udp.source_port) == (server.address(), 53)
    assert answer.udp.destination_port == query.udp.source_port
    assert answer.dns.id == query.dns.id
    assert (query.dns.flags, answer.dns.flags) == (0x0100, 0x8580)
    assert dns.asks_for("www.example.test")(query)
    assert dns.records(answer.dns) == [
        "www.example.test. CNAME web.example.test.",
        f"web.example.test. A {lab['right'].address()}",
    ]
