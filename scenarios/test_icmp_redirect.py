"""ICMP redirect: a router that is not the best next hop says so (the book's 2.6.2; RFC 792, RFC 1122 3.2.2.2).

host .10 ── lan 10.0.1.0/24 ──┬── current .1     (the host's gateway; knows that better leads on)
                              └── better  .2 ── far 10.9.0.0/24 ── target .9
"""

import socket
from itertools import pairwise

import pytest

from lab.checks import icmp
from lab.mutants import command, sysctl
from lab.probes import raw
from lab.running import Lab
from lab.trace.trace import Trace

TARGET = "10.9.0.9"
PORT = 4000

ACCEPT = "net.ipv4.conf.*.accept_redirects"
SEND = "net.ipv4.conf.*.send_redirects"
SECURE = "net.ipv4.conf.*.secure_redirects"


def everywhere(key: str, value: int) -> dict[str, int]:
    """A setting of both "all" and the interface: the kernel obeys one of the two, which one differs by key."""
    return {key.replace("*", scope): value for scope in ("all", "eth0")}


def ping_twice(lab: Lab) -> Trace:
    """Two pings from the host to the target, as the host's wire saw them.

    The host knows the better gateway's hardware address beforehand: the kernel takes a redirect to a stranger
    as a hint to ask for its address, and follows only the next.
    """
    host = lab["host"]
    assert host.ping(lab["better"].address("lan")).received == 1
    with host.capture("eth0") as capture:
        assert host.ping(TARGET, count=2).received == 2
    assert capture.trace.dropped == 0
    return capture.trace


def next_hops(lab: Lab, trace: Trace) -> list[str]:
    """The node to which each echo request went, by its hardware address."""
    names = {node.interface("lan").mac: node.name for node in lab if node.name != "target"}
    requests = trace.where(icmp.is_echo_request, lambda packet: packet.direction == "out")
    return [names[packet.eth.dst] for packet in requests if packet.eth]


def gateway(lab: Lab) -> str:
    """Where the host would send a packet for the target now."""
    return str(lab["host"].route_to(TARGET)["gateway"])


@pytest.mark.book("2.6.2")
@pytest.mark.topology("redirect.yaml")
@pytest.mark.mutant("current sends no redirects", sysctl("current", SEND, 0))
@pytest.mark.mutant("host accepts no redirects", sysctl("host", ACCEPT, 0))
def test_the_host_learns_the_better_gateway(lab: Lab) -> None:
    """A router that sends a packet out of the interface it came in on tells the sender of the better next hop.

    One redirect is enough: it quotes the packet that took the long way, the host notes the better gateway for
    this one destination, and the next packet goes there directly.
    """
    assert gateway(lab) == lab["current"].address("lan")

    trace = ping_twice(lab)

    redirects = trace.where(icmp.is_redirect)
    assert len(redirects) == 1
    redirect = redirects[0]
    assert redirect.ip and redirect.ip.src == lab["current"].address("lan")
    assert redirect.icmp and redirect.icmp.code == raw.REDIRECT_HOST
    assert redirect.icmp.gateway == lab["better"].address("lan")
    assert redirect.icmp.quoted
    assert (redirect.icmp.quoted.ip.src, redirect.icmp.quoted.ip.dst) == (lab["host"].address(), TARGET)
    assert next_hops(lab, trace) == ["current", "better"]
    route = lab["host"].route_to(TARGET)
    assert route["gateway"] == lab["better"].address("lan")
    assert "redirected" in route["cache"]


@pytest.mark.book("2.6.2")
@pytest.mark.topology("redirect.yaml", sysctls={"host": everywhere(ACCEPT, 0)})
@pytest.mark.mutant("host accepts redirects", sysctl("host", ACCEPT, 1))
@pytest.mark.mutant("current sends no redirects", sysctl("current", SEND, 0))
def test_a_host_that_accepts_no_redirects_keeps_its_route(lab: Lab) -> None:
    """With accept_redirects=0 the redirect arrives and changes nothing."""
    trace = ping_twice(lab)

    assert len(trace.where(icmp.is_redirect)) >= 1
    assert next_hops(lab, trace) == ["current", "current"]
    assert gateway(lab) == lab["current"].address("lan")


@pytest.mark.book("2.6.2")
@pytest.mark.topology("redirect.yaml", sysctls={"current": everywhere(SEND, 0)})
@pytest.mark.mutant("current sends redirects", sysctl("current", SEND, 1))
def test_a_router_that_sends_no_redirects_forwards_in_silence(lab: Lab) -> None:
    """With send_redirects=0 the packets take the long way for ever, and nobody is told."""
    trace = ping_twice(lab)

    assert len(trace.where(icmp.is_redirect)) == 0
    assert next_hops(lab, trace) == ["current", "current"]
    assert gateway(lab) == lab["current"].address("lan")


UNSHARED = {"net.ipv4.conf.all.shared_media": 0, "net.ipv4.conf.eth0.shared_media": 0}


@pytest.mark.book("2.6.2")
@pytest.mark.topology("redirect.yaml", sysctls={"host": {**UNSHARED, **everywhere(SECURE, 1)}})
@pytest.mark.mutant("redirects need not be secure", sysctl("host", SECURE, 0))
@pytest.mark.mutant(
    "better is a gateway too", command("host", *["ip", "route", "add", "default", "via", "10.0.1.2", "metric", "9"])
)
def test_secure_redirects_trust_only_gateways(lab: Lab) -> None:
    """With secure_redirects=1 (and shared_media=0) a redirect to a router that is no default gateway is refused."""
    trace = ping_twice(lab)

    assert len(trace.where(icmp.is_redirect)) >= 1
    assert gateway(lab) == lab["current"].address("lan")


@pytest.mark.book("2.6.2")
@pytest.mark.topology("redirect.yaml", sysctls={"host": {**UNSHARED, **everywhere(SECURE, 1)}})
@pytest.mark.mutant("host accepts no redirects", sysctl("host", ACCEPT, 0))
def test_secure_redirects_trust_a_second_gateway(lab: Lab) -> None:
    """The same redirect is followed if its gateway is among the host's default gateways."""
    lab["host"].run("ip", "route", "add", "default", "via", lab["better"].address("lan"), "metric", "9").check()

    ping_twice(lab)

    assert gateway(lab) == lab["better"].address("lan")


def forge_redirect(lab: Lab, sender: str, source: tuple[str, int]) -> None:
    """Let `better` claim, in the name of `sender`, that it is the better way from `source` to the target.

    Returns when the host has dealt with it: the ping behind it takes the same way.
    """
    host, better = lab["host"], lab["better"]
    assert host.ping(better.address("lan")).received == 1
    offending = raw.udp_packet(source, (TARGET, PORT))
    with host.capture("eth0") as capture:
        better.send_packet(raw.icmp_redirect(sender, host.address(), better.address("lan"), offending))
        assert host.ping(better.address("lan")).received == 1
    arrived = capture.trace.first(icmp.is_redirect)
    assert arrived.ip and arrived.ip.src == sender
    assert arrived.checksum_ok


def connected_socket(lab: Lab, port: int = 0) -> socket.socket:
    """A UDP socket of the host's with the target as its peer; it has not sent anything."""
    channel = lab["host"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.bind(("", port))
    channel.connect((TARGET, PORT))
    return channel


@pytest.mark.book("2.6.2")
@pytest.mark.topology("redirect.yaml")
@pytest.mark.mutant(
    "the forger is the gateway", command("host", *["ip", "route", "replace", "default", "via", "10.0.1.2"])
)
def test_a_redirect_from_anyone_but_the_gateway_is_refused(lab: Lab) -> None:
    """Only the router that the packet was sent to may say that there is a better one (RFC 1122 3.2.2.2)."""
    before = gateway(lab)
    with connected_socket(lab) as channel:
        forge_redirect(lab, lab["better"].address("lan"), channel.getsockname())

    assert "redirected" not in lab["host"].route_to(TARGET)["cache"]
    assert before == lab["current"].address("lan")


@pytest.mark.book("2.6.2")
@pytest.mark.topology("redirect.yaml")
@pytest.mark.mutant("host accepts no redirects", sysctl("host", ACCEPT, 0))
def test_a_forged_redirect_in_the_gateways_name_is_believed_if_it_quotes_a_live_socket(lab: Lab) -> None:
    """Whoever can guess a socket's ports and forge the gateway's address can turn the host's traffic to itself.

    This is why a host on a network that it does not trust is told to accept no redirects.
    """
    with connected_socket(lab) as channel:
        forge_redirect(lab, lab["current"].address("lan"), channel.getsockname())

    assert gateway(lab) == lab["better"].address("lan")
    assert "redirected" in lab["host"].route_to(TARGET)["cache"]


@pytest.mark.book("2.6.2")
@pytest.mark.topology("redirect.yaml")
@pytest.mark.mutant("the quoted socket exists", lambda lab: connected_socket(lab, 1234))
def test_a_forged_redirect_that_quotes_no_socket_is_refused(lab: Lab) -> None:
    """The kernel hands an ICMP error to the socket that it is about, and drops it if there is none.

    Not every kernel does: Debian's 6.1 finds no socket, counts an error, and follows the redirect all the same.
    """
    host = lab["host"]
    errors = host.counters()["IcmpInErrors"]
    forge_redirect(lab, lab["current"].address("lan"), (host.address(), 1234))

    found_no_socket = host.counters()["IcmpInErrors"] == errors + 1
    if found_no_socket and gateway(lab) == lab["better"].address("lan"):
        pytest.skip("this kernel follows a redirect for which it has found no socket")
    assert gateway(lab) == lab["current"].address("lan")


@pytest.mark.book("2.6.2")
@pytest.mark.topology("redirect.yaml", sysctls={"host": everywhere(ACCEPT, 0)})
@pytest.mark.mutant("current sends no redirects", sysctl("current", SEND, 0))
@pytest.mark.mutant("host accepts redirects", sysctl("host", ACCEPT, 1))
def test_a_router_repeats_itself_less_and_less_often(lab: Lab) -> None:
    """A host that does not listen is told again after 40 ms, then after twice as long each time.

    The kernel counts in ticks, 250 a second at the fewest here, so a pause may be a tick short.
    """
    host = lab["host"]
    assert host.ping(lab["better"].address("lan")).received == 1
    with host.capture("eth0") as capture:
        assert host.ping(TARGET, count=30, interval=0.02).received == 30

    times = [packet.time_ns / 1e9 for packet in capture.trace.where(icmp.is_redirect)]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    tick = 0.01
    assert len(pauses) >= 2
    for repeat, pause in enumerate(pauses, 1):
        assert pause >= 0.02 * 2**repeat - tick


@pytest.mark.book("2.7")
@pytest.mark.topology("redirect6.yaml")
@pytest.mark.mutant("host accepts no redirects", sysctl("host", "net.ipv6.conf.*.accept_redirects", 0))
@pytest.mark.mutant("current does not forward", sysctl("current", "net.ipv6.conf.*.forwarding", 0))
def test_an_ipv6_host_learns_the_better_gateway(lab: Lab) -> None:
    """IPv6 redirects by neighbour discovery (RFC 4861 8): the target is the better router's link-local address."""
    host, better, target = lab["host"], lab["better"], lab["target"].address(version=6)
    assert host.ping(better.address("lan", version=6)).received == 1
    with host.capture("eth0") as capture:
        host.ping(target, count=2)

    redirect = capture.trace.first(icmp.is_redirect)
    assert redirect.icmp6 and redirect.icmp6.target == host.route_to(target)["gateway"]
    assert redirect.icmp6.destination == target
    assert next_hops(lab, capture.trace) == ["current", "better"]
