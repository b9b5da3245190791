"""Routing and forwarding (the book's 2.4 and 2.5; RFC 1812, RFC 792).

client .10 ── left ── r1 ── a ── r2 ── b ── r3 ── right ── server .10
"""

import errno
import select
import socket

import pytest

from lab.checks import icmp
from lab.mutants import command, drop, sysctl
from lab.running import Lab
from lab.trace.icmp import TIME_EXCEEDED, UNREACHABLE
from lab.trace.ipv4 import IPv4
from lab.trace.packet import Packet

ROUTERS = 3  # between client and server
NET, HOST, PORT = 0, 1, 3  # codes of "destination unreachable" (RFC 792)
CLOSED = 9
IP_RECVERR = 11  # ip(7); Python has no name for it
FORWARD = "net.ipv4.ip_forward"


def complaint(lab: Lab, destination: str, hops: int = 64) -> Packet:
    """Return what comes back of a datagram to a closed port that may take so many hops."""
    client = lab["client"]
    with client.capture() as capture, client.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
        channel.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)  # or it would not be told of what may pass
        channel.settimeout(3)
        channel.connect((destination, CLOSED))
        channel.send(b"?")
        hear(channel)
    return capture.trace.first(lambda packet: packet.icmp is not None)


def header(packet: Packet) -> IPv4:
    assert isinstance(packet.ip, IPv4)
    return packet.ip


def open_the_port(lab: Lab) -> socket.socket:
    channel = lab["server"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.bind(("", CLOSED))
    return channel


def hear(channel: socket.socket) -> str:
    """Return the name of the error that a connected socket is told of; "" if nobody complains in time."""
    poll = select.poll()
    poll.register(channel, select.POLLERR)
    poll.poll(3000)
    number = channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.errorcode[number] if number else ""


@pytest.mark.topology("chain.yaml", reuse=True)
@pytest.mark.book("2.4")
@pytest.mark.mutant("there is no way back", command("server", "ip", "route", "flush", "default"))
def test_the_longest_prefix_decides(lab: Lab) -> None:
    """Of all routes that fit a destination the most exact one is taken, whatever their order in the table.

    The client's default route leads to r1. A route for the server alone, to nowhere, takes precedence over it, and only
    for the server; one for its whole network does not, as it is less exact than that for the server.
    """
    client, server = lab["client"], lab["server"].address()
    table = [
        ("default", client.route_to(server)["gateway"]),
        ("10.0.4.0/24", "10.0.1.77"),
        ("10.0.4.10/32", "10.0.1.88"),
    ]
    assert client.ping(server).received == 1
    for destination, gateway in table[1:]:
        client.run("ip", "route", "add", destination, "via", gateway).check()
    assert client.route_to(server)["gateway"] == "10.0.1.88"
    assert client.route_to("10.0.4.1")["gateway"] == "10.0.1.77"
    assert client.route_to("10.0.3.1")["gateway"] == table[0][1]

    for destination, gateway in reversed(table[1:]):
        assert client.route_to(server)["gateway"] == gateway
        client.run("ip", "route", "del", destination).check()
    assert client.route_to(server)["gateway"] == table[0][1]
    assert client.ping(server).received == 1


@pytest.mark.topology("chain.yaml")
@pytest.mark.book("2.5")
@pytest.mark.mutant("no router forwards", sysctl("r2", FORWARD, 0))
@pytest.mark.mutant(
    "a router gives hops back",
    command(
        "r2",
        "nft",
        "add table ip t; add chain ip t c { type filter hook forward priority 0; }; add rule ip t c ip ttl set 64",
    ),
)
def test_each_router_takes_one_hop_and_both_hardware_addresses_change(lab: Lab) -> None:
    """What stays the same from end to end is who speaks to whom; what changes at every router is the frame around it.

    So the time to live tells how many routers a packet has passed, and the hardware addresses who has it now.
    """
    client, server = lab["client"], lab["server"]
    with lab.capture() as capture:
        client.ping(server.address())
    requests = capture.trace.where(icmp.is_echo_request, lambda packet: packet.direction == "in")
    assert [(packet.node, header(packet).ttl) for packet in requests] == [
        ("r1", 64),
        ("r2", 63),
        ("r3", 62),
        ("server", 61),
    ]
    assert {(packet.ip.src, packet.ip.dst) for packet in requests if packet.ip} == {
        (client.address(), server.address())
    }
    senders = [packet.eth.src for packet in requests if packet.eth]
    owners = {interface.mac: node.name for node in lab for interface in node.plan.interfaces}
    assert [owners[mac] for mac in senders] == ["client", "r1", "r2", "r3"]


@pytest.mark.topology("chain.yaml", sysctls={"r2": {FORWARD: 0}})
@pytest.mark.book("2.5")
@pytest.mark.mutant("it forwards all the same", sysctl("r2", FORWARD, 1))
def test_a_host_that_does_not_forward_throws_away_what_is_not_for_itself(lab: Lab) -> None:
    """ip_forward makes a router of a host. Without it, what comes for somebody else is dropped, and nobody is told."""
    client, server = lab["client"], lab["server"]
    with lab.capture() as capture:
        assert client.ping(server.address(), timeout=0.5).received == 0
    assert capture.trace.on("r2").where(icmp.is_echo_request)
    assert not capture.trace.on("r3").where(icmp.is_echo_request)
    assert not capture.trace.where(icmp.is_unreachable)


@pytest.mark.topology("chain.yaml", reuse=True)
@pytest.mark.book("2.5")
@pytest.mark.mutant("a router keeps it to itself", drop("r2", "output", "icmp type time-exceeded"))
def test_where_the_hops_end_the_router_says_so(lab: Lab) -> None:
    """The router that takes the last hop drops the packet and tells the sender: ICMP type 11, code 0.

    It answers from the interface that faces the sender, and quotes what it has dropped. So one more hop each time names
    the routers one after the other: traceroute. The server's complaint is another: nobody has that port.
    """
    server = lab["server"].address()
    faces = [lab["r1"].address("left"), lab["r2"].address("a"), lab["r3"].address("b")]
    for hops, face in enumerate(faces, start=1):
        packet = complaint(lab, server, hops)
        assert packet.ip and packet.ip.src == face
        assert packet.icmp and (packet.icmp.type, packet.icmp.code) == (TIME_EXCEEDED, 0)
        assert packet.icmp.quoted and isinstance(packet.icmp.quoted.ip, IPv4) and packet.icmp.quoted.ip.ttl == 1

    packet = complaint(lab, server, ROUTERS + 1)
    assert packet.ip and packet.ip.src == server
    assert packet.icmp and (packet.icmp.type, packet.icmp.code) == (UNREACHABLE, PORT)


@pytest.mark.topology("chain.yaml")
@pytest.mark.book("2.5")
@pytest.mark.mutant("somebody has the port", open_the_port)
def test_a_closed_port_refuses_the_socket_that_asked(lab: Lab) -> None:
    """UDP has no reset: ICMP says "port unreachable", and the kernel finds the socket by the datagram quoted in it."""
    client, server = lab["client"], lab["server"].address()
    with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.connect((server, CLOSED))
        channel.send(b"?")
        assert hear(channel) == "ECONNREFUSED"


@pytest.mark.topology("chain.yaml")
@pytest.mark.book("2.5")
@pytest.mark.mutant("there is a way", command("r1", "ip", "route", "add", "203.0.113.0/24", "via", "10.0.2.2"))
def test_a_router_without_a_route_says_that_the_network_cannot_be_reached(lab: Lab) -> None:
    """No route: ICMP type 3, code 0, from the first router that knows no further."""
    packet = complaint(lab, "203.0.113.5")
    assert packet.ip and packet.ip.src == lab["r1"].address("left")
    assert packet.icmp and (packet.icmp.type, packet.icmp.code) == (UNREACHABLE, NET)


@pytest.mark.topology("chain.yaml")
@pytest.mark.book("2.5")
@pytest.mark.mutant("somebody is there", command("server", "ip", "addr", "add", "10.0.4.99/24", "dev", "eth0"))
def test_the_last_router_says_that_a_host_cannot_be_reached(lab: Lab) -> None:
    """It asks for the host's hardware address three times before it gives up: ICMP type 3, code 1."""
    lab["r3"].sysctl("net.ipv4.neigh.eth1.retrans_time_ms", 100)  # a second by itself
    packet = complaint(lab, "10.0.4.99")
    assert packet.ip and packet.ip.src == lab["r3"].address("b")
    assert packet.icmp and (packet.icmp.type, packet.icmp.code) == (UNREACHABLE, HOST)


@pytest.mark.topology("chain.yaml", reuse=True)
@pytest.mark.book("2.5")
@pytest.mark.mutant("one router is silent", drop("r2", "output", "icmp type time-exceeded"))
def test_traceroute_names_every_router_on_the_way(lab: Lab) -> None:
    """The tool does just that: datagrams with one hop, two hops, three, until the server itself complains."""
    done = lab["client"].run("traceroute", "-n", "-q", "1", "-w", "1", lab["server"].address()).check()
    hops = [line.split()[1] for line in done.stdout.splitlines()[1:]]
    assert hops == [lab["r1"].address("left"), lab["r2"].address("a"), lab["r3"].address("b"), lab["server"].address()]
