"""A load balancer: many servers behind one address.

client1, client2 ── front ── balancer (haproxy) ── back ── web1, web2, web3 (nginx)
"""

import re
import socket

import pytest

from lab.checks import http, tcp
from lab.mutants import reconfigured
from lab.probes import http as probe
from lab.running import Lab

SERVERS = {"web1", "web2", "web3"}
CLIENTS = "client1", "client2"
ROUNDS = 2


def served_by(lab: Lab) -> list[str]:
    """The names of the servers that answered as many requests as there are servers, twice, from both clients."""
    answers = []
    for number in range(ROUNDS * len(SERVERS)):
        with lab[CLIENTS[number % 2]].socket(socket.AF_INET, socket.SOCK_STREAM) as channel:
            destination = lab["balancer"].address("front"), 80
            response = probe.fetch(channel, destination, probe.request("GET", "/", host="www.example.test"))
        assert response.status == 200
        answers += re.findall(r"This is (\w+)", response.body.decode())
    return answers


def speak_from_another_address(lab: Lab) -> None:
    lab["balancer"].run("ip", "addr", "add", "10.0.2.99/24", "dev", "eth1").check()
    reconfigured("balancer", "haproxy", "mode http", "mode http\n    source 10.0.2.99")(lab)


def stop_the_others(lab: Lab) -> None:
    for name in ("web1", "web3"):
        lab[name].services["nginx"].stop()


@pytest.mark.topology("balancer.yaml")
@pytest.mark.mutant("all go to the first", reconfigured("balancer", "haproxy", "balance roundrobin", "balance first"))
@pytest.mark.mutant(
    "each client has its server", reconfigured("balancer", "haproxy", "balance roundrobin", "balance source")
)
def test_the_servers_take_turns(lab: Lab) -> None:
    """Every server gets the same share, in the same order each round, whoever asks."""
    answers = served_by(lab)
    assert set(answers[:3]) == SERVERS
    assert answers[3:] == answers[:3]


@pytest.mark.topology("balancer.yaml")
@pytest.mark.mutant("it speaks from another address", speak_from_another_address)
def test_each_side_speaks_with_the_balancer_only(lab: Lab) -> None:
    """One request is two connections: the client knows the balancer's address, the server as well, on its side."""
    front, back = lab["balancer"].address("front"), lab["balancer"].address("back")
    with lab.capture() as capture:
        served_by(lab)

    for client in CLIENTS:
        assert {packet.ip.dst for packet in capture.trace.on(client).where(tcp.is_syn) if packet.ip} == {front}
    for server in SERVERS:
        at_server = capture.trace.on(server)
        assert len(http.exchanges(at_server, port=80)) == ROUNDS
        assert {packet.ip.src for packet in at_server.where(tcp.is_syn) if packet.ip} == {back}


@pytest.mark.topology("balancer.yaml")
@pytest.mark.mutant("none can take its place", stop_the_others)
def test_a_server_that_is_down_is_passed_over(lab: Lab) -> None:
    """Its connection is refused, so the balancer asks the next one, and no client notices."""
    lab["web2"].services["nginx"].stop()

    assert set(served_by(lab)) == SERVERS - {"web2"}
