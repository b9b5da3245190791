"""A server for TCP and UDP on one port (book 9.7): the two protocols have port numbers of their own.

left (clients) ── lan ── right (server)
"""

import socket

import pytest

from lab.mutants import faulty
from lab.probes import tcp
from lab.running import Lab

PORT = 7


def asked(lab: Lab, datagram: bytes, address: str = "", own_port: int = 0) -> tuple[bytes, str] | None:
    """What comes back for a datagram, and from which address; None if nothing does."""
    with lab["left"].socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind((lab["left"].address(), own_port))
        channel.sendto(datagram, (address or lab["right"].address(), PORT))
        channel.settimeout(0.5 if own_port else 5)
        try:
            answer, (source, _port) = channel.recvfrom(1 << 16)
        except TimeoutError:
            return None
        return answer, source


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.7")
@pytest.mark.mutant("it answers with a whole buffer", faulty("echo_tcp_udp", "UDP_FIXED_LENGTH"))
def test_a_datagram_comes_back_as_long_as_it_was(lab: Lab) -> None:
    """Unlike a stream, a datagram has a length, which may be nothing at all, or more than one packet holds."""
    address = lab["right"].address()
    with lab["right"].deploy("echo_tcp_udp", port=PORT), lab["left"].connect(address, PORT) as connection:
        for size in (1, 0, 512, 1472, 1473, 65_507):
            datagram = bytes(range(251)) * (size // 251) + bytes(size % 251)
            assert asked(lab, datagram) == (datagram, address)
        connection.sendall(b"and by TCP")
        assert tcp.read_exactly(connection, 10) == b"and by TCP"
        bound = {(one.protocol, one.local[1]) for kind in ("tcp", "udp") for one in lab["right"].sockets(kind)}
        assert {("tcp", PORT), ("udp", PORT)} <= bound


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("9.7")
@pytest.mark.mutant("it answers from the address that the route prefers", faulty("echo_tcp_udp", "NO_PKTINFO"))
def test_an_answer_comes_from_the_address_that_was_asked(lab: Lab) -> None:
    """An unconnected UDP socket bound to all addresses sends from the one that the route prefers.

    A peer that has asked another one does not know the answer. IP_PKTINFO tells which was asked, and says so again.
    """
    lab["right"].run("ip", "address", "add", "10.0.1.77/24", "dev", "eth0").check()
    with lab["right"].deploy("echo_tcp_udp", port=PORT):
        assert asked(lab, b"you there", "10.0.1.77") == (b"you there", "10.0.1.77")


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.7")
@pytest.mark.mutant("it answers whatever comes", faulty("echo_tcp_udp", "ANSWERS_ITSELF"))
def test_two_echo_servers_do_not_talk_to_each_other_for_ever(lab: Lab) -> None:
    """A datagram that claims to come from another echo server would go back and forth without an end.

    So what comes from the echo port itself is not answered. (TCP needs no such rule: somebody has to connect.)
    """
    with lab["right"].deploy("echo_tcp_udp", port=PORT):
        assert asked(lab, b"hello") == (b"hello", lab["right"].address())
        assert asked(lab, b"hello", own_port=PORT) is None
