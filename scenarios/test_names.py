"""Names: who knows which, and in what order they are asked (the book's 1.6 and 4.5; RFC 1034, RFC 1035).

left, right ── lan ── router ── dns (dnsmasq, which knows this lab's names and no others)
"""

import socket
from typing import TYPE_CHECKING

import pytest

from lab.checks import dns
from lab.mutants import command, reconfigured
from lab.node import Node
from lab.probes import dns as probe
from lab.running import Lab

if TYPE_CHECKING:
    from dns.message import Message

NAME = "www.example.test"


def ask(lab: Lab, name: str, kind: str = "A") -> "Message":
    """What the lab's DNS server answers to the left host."""
    with lab["left"].socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        return probe.ask(channel, lab["dns"].address(), name, kind)


def addresses(node: Node) -> set[str]:
    return {node.address(interface.network) for interface in node.plan.interfaces}


def look_up(node: Node, name: str) -> str:
    """The first address that the node's own resolver finds for a name, "" if it finds none."""
    found = node.run("getent", "ahostsv4", name).stdout.split()
    return found[0] if found else ""


def write_hosts(node: Node, line: str) -> None:
    """Add a line to the node's own /etc/hosts."""
    node.run("tee", "--append", "/etc/hosts", stdin=f"{line}\n".encode()).check()


@pytest.mark.book("1.6.1")
@pytest.mark.topology("first-look.yaml", reuse=True)
@pytest.mark.mutant("the domain is another", reconfigured("dns", "dnsmasq", "domain=test", "domain=example"))
@pytest.mark.mutant("one host is left out", reconfigured("dns", "dnsmasq", "10.0.1.10 left", ""))
def test_the_server_knows_every_node_by_name_and_by_address(lab: Lab) -> None:
    """Forwards by A records, one for each address, backwards by PTR records in the zone in-addr.arpa."""
    for node in lab:
        name = f"{node.name}.test."
        answer = dns.records(ask(lab, name))
        assert sorted(answer) == sorted(f"{name} A {address}" for address in addresses(node))
        for address in addresses(node):
            backwards = ".".join(reversed(address.split(".")))
            assert dns.records(ask(lab, address, "PTR")) == [f"{backwards}.in-addr.arpa. PTR {name}"]


@pytest.mark.book("1.6.1")
@pytest.mark.topology("first-look.yaml", reuse=True)
@pytest.mark.mutant(
    "the alias is of another host", reconfigured("dns", "dnsmasq", NAME + ",web.example", NAME + ",left")
)
@pytest.mark.mutant("there is no such name", reconfigured("dns", "dnsmasq", "10.0.1.11 web.example.test", ""))
def test_an_alias_leads_to_a_name_and_the_name_to_an_address(lab: Lab) -> None:
    """Asked for an alias' address, the server tells the true name as well, and that one's address with it."""
    name, address = f"{NAME}. CNAME web.example.test.", f"web.example.test. A {lab['right'].address()}"
    assert dns.records(ask(lab, NAME)) == [name, address]
    assert dns.records(ask(lab, NAME, "CNAME")) == [name]
    assert dns.records(ask(lab, "web.example.test")) == [address]


@pytest.mark.book("1.6.1")
@pytest.mark.topology("first-look.yaml", reuse=True)
@pytest.mark.mutant("there is no wildcard", reconfigured("dns", "dnsmasq", "address=/users.example.test/10.0.1.11", ""))
@pytest.mark.mutant("the wildcard is wider", reconfigured("dns", "dnsmasq", "address=/users.", "address=/"))
def test_a_wildcard_answers_for_every_name_below_it(lab: Lab) -> None:
    """Whatever stands in front of the domain, at whatever depth; its neighbours stay unknown."""
    address = lab["right"].address()
    for name in ("ann.users.example.test.", "b.c.d.users.example.test.", "users.example.test."):
        assert dns.records(ask(lab, name)) == [f"{name} A {address}"]
    for name in ("ann.example.test", "superusers.example.test"):
        assert dns.response_code(ask(lab, name)) == "NXDOMAIN"


@pytest.mark.book("1.6.1")
@pytest.mark.topology("first-look.yaml", reuse=True)
@pytest.mark.mutant("it says nothing of the rest", reconfigured("dns", "dnsmasq", "local=/#/", ""))
@pytest.mark.mutant("it knows everybody", reconfigured("dns", "dnsmasq", "local=/#/", "address=/#/10.0.1.11"))
def test_a_name_that_nobody_has_does_not_exist(lab: Lab) -> None:
    """The server says so itself (NXDOMAIN) and asks nobody else: no name of the world outside leads out of a lab.

    A name that exists, but has no record of the kind asked for, is something else: no error, and no records.
    """
    for name in ("nobody.test", "www.example.com", "nobody"):
        assert dns.response_code(ask(lab, name)) == "NXDOMAIN"
    assert dns.response_code(ask(lab, "10.9.9.9", "PTR")) == "NXDOMAIN"
    no_such_record = ask(lab, "left.test", "AAAA")
    assert (dns.response_code(no_such_record), dns.records(no_such_record)) == ("NOERROR", [])


@pytest.mark.book("4.5")
@pytest.mark.topology("first-look.yaml")
@pytest.mark.mutant("DNS comes first", command("left", "sh", "-c", "echo hosts: dns files >/etc/nsswitch.conf"))
@pytest.mark.mutant("the hosts file has it already", lambda lab: write_hosts(lab["left"], f"10.9.9.9 {NAME}"))
def test_the_hosts_file_is_asked_before_dns(lab: Lab) -> None:
    """What /etc/hosts has is not asked for: nsswitch.conf says `hosts: files dns`, and the first to know wins.

    So a line there can send a host elsewhere than everybody else, right or wrong.
    """
    left = lab["left"]
    with left.capture() as capture:
        assert look_up(left, NAME) == lab["right"].address()
    assert len(capture.trace.where(dns.asks_for(NAME))) == 2

    write_hosts(left, f"10.9.9.9 {NAME}")
    with left.capture() as capture:
        assert look_up(left, NAME) == "10.9.9.9"
    assert len(capture.trace) == 0


@pytest.mark.book("4.5")
@pytest.mark.topology("first-look.yaml")
@pytest.mark.mutant("DNS comes first", command("left", "sh", "-c", "echo hosts: dns files >/etc/nsswitch.conf"))
def test_each_node_has_a_hosts_file_of_its_own(lab: Lab) -> None:
    """A lab's nodes know each other without DNS; what one of them writes down, no other reads."""
    left, right = lab["left"], lab["right"]
    with lab.capture("left", "right") as capture:
        assert look_up(left, "right") == right.address()
        assert look_up(right, "left") == left.address()
        write_hosts(left, "10.9.9.9 elsewhere")
        assert look_up(left, "elsewhere") == "10.9.9.9"
    assert len(capture.trace.where(dns.is_query)) == 0

    assert look_up(right, "elsewhere") == ""
