"""The decoder and tshark see the same in traffic that the kernel itself has made."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.checks import arp, icmp, ip, tcp
from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.trace import icmp6
from lab.trace.packet import Packet
from lab.trace.pcap import PcapWriter
from tests import tshark
from tests.small_labs import ROUTED, up

pytestmark = pytest.mark.skipif(tshark.IS_MISSING, reason=tshark.WHY_MISSING)

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
LINGER_NOT = struct.pack("ii", 1, 0)  # close() resets the connection
HOP_LIMIT = {4: (socket.IPPROTO_IP, socket.IP_TTL), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}
CLOSED_PORT = 9


@pytest.fixture(scope="module")
def lab(labs: Labs) -> Iterator[Lab]:
    with up(ROUTED, labs.backend) as made:
        yield made


@contextlib.contextmanager
def connection(lab: Lab, version: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection from client to server: (client's socket, server's socket)."""
    with lab["server"].socket(FAMILIES[version], socket.SOCK_STREAM) as listener:
        listener.settimeout(5)
        listener.bind((lab["server"].address(version=version), 0))
        listener.listen()
        with lab["client"].socket(FAMILIES[version], socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(listener.getsockname())
            server, _ = listener.accept()
            server.settimeout(5)
            with server:
                yield client, server


def receive_all(channel: socket.socket) -> bytes:
    received = b""
    while data := channel.recv(1 << 16):
        received += data
    return received


def pings(lab: Lab, version: int) -> None:
    assert lab["client"].ping(lab["server"].address(version=version), count=3).received == 3


def large_pings(lab: Lab, version: int) -> None:
    assert lab["client"].ping(lab["router"].address("lan", version=version), size=3000).received == 1


def questions_to_neighbours(lab: Lab, version: int) -> None:
    lab["client"].run("ip", "neighbour", "flush", "all").check()
    assert lab["client"].ping(lab["router"].address("lan", version=version)).received == 1
    nobody = {4: "10.0.1.99", 6: "fd00:1::99"}[version]
    assert lab["client"].ping(nobody, timeout=0.01).received == 0


def transfer_and_half_close(lab: Lab, version: int) -> None:
    with connection(lab, version) as (client, server):
        client.sendall(b"question" * 1000)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(server) == b"question" * 1000
        server.sendall(b"answer" * 5000)
        server.close()
        assert receive_all(client) == b"answer" * 5000


def resets(lab: Lab, version: int) -> None:
    with connection(lab, version) as (client, server):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        client.close()
        with pytest.raises(ConnectionResetError):
            server.recv(1)
    with lab["client"].socket(FAMILIES[version], socket.SOCK_STREAM) as refused, pytest.raises(ConnectionRefusedError):
        refused.connect((lab["server"].address(version=version), CLOSED_PORT))


def urgent_data(lab: Lab, version: int) -> None:
    with connection(lab, version) as (client, server):
        client.send(b"abc", socket.MSG_OOB)
        client.close()
        receive_all(server)


def selective_acknowledgements(lab: Lab, version: int) -> None:
    """Lose a segment: the router has no room for it, and the receiver tells which it has got."""
    drop = ("tc", "qdisc", "replace", "dev", "eth1", "root", "tbf", "rate", "20mbit", "burst", "3000", "limit", "6000")
    lab["router"].run(*drop).check()
    try:
        with connection(lab, version) as (client, server):
            client.sendall(bytes(30_000))
            client.close()
            assert len(receive_all(server)) == 30_000
    finally:
        lab["router"].run("tc", "qdisc", "del", "dev", "eth1", "root").check()


def datagrams(lab: Lab, version: int) -> None:
    with (
        lab["server"].socket(FAMILIES[version], socket.SOCK_DGRAM) as server,
        lab["client"].socket(FAMILIES[version], socket.SOCK_DGRAM) as client,
    ):
        server.settimeout(5)
        server.bind((lab["server"].address(version=version), 0))
        for payload in (b"", b"odd", b"x" * 1300):
            client.sendto(payload, server.getsockname())
            assert server.recv(2000) == payload


def an_unreachable_port(lab: Lab, version: int) -> None:
    with lab["client"].socket(FAMILIES[version], socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((lab["server"].address(version=version), CLOSED_PORT))
        client.send(b"anybody there?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(1)


def an_exhausted_hop_limit(lab: Lab, version: int) -> None:
    with lab["client"].socket(FAMILIES[version], socket.SOCK_DGRAM) as client:
        client.setsockopt(*HOP_LIMIT[version], 1)
        client.sendto(b"not far", (lab["server"].address(version=version), CLOSED_PORT))
        pings(lab, version)  # goes after it; the router has answered before


def a_narrow_path(lab: Lab, version: int) -> None:
    """A datagram that fits the first network does not fit the second, and the router says what does."""
    with lab["client"].socket(FAMILIES[version], socket.SOCK_DGRAM) as client:
        client.sendto(bytes(1420), (lab["server"].address(version=version), CLOSED_PORT))
        pings(lab, version)  # goes after it; the router has answered before


def is_too_big(packet: Packet) -> bool:
    if packet.icmp6 is not None:
        return packet.icmp6.type == icmp6.PACKET_TOO_BIG
    return packet.icmp is not None and packet.icmp.mtu is not None


def has_sack_blocks(packet: Packet) -> bool:
    return packet.tcp is not None and len(packet.tcp.sack_blocks) > 0


def asks_neighbours(packet: Packet) -> bool:
    return arp.is_request(packet) or (packet.icmp6 is not None and packet.icmp6.type == icmp6.NEIGHBOR_SOLICITATION)


def is_urgent(packet: Packet) -> bool:
    return packet.tcp is not None and packet.tcp.urgent_pointer > 0


TRAFFIC: list[tuple[Callable[[Lab, int], None], Callable[[Packet], bool]]] = [
    (pings, icmp.is_echo_reply),
    (large_pings, ip.is_fragment),
    (questions_to_neighbours, asks_neighbours),
    (transfer_and_half_close, tcp.is_fin),
    (resets, tcp.is_reset),
    (urgent_data, is_urgent),
    (selective_acknowledgements, has_sack_blocks),
    (datagrams, lambda packet: packet.udp is not None),
    (an_unreachable_port, icmp.is_unreachable),
    (an_exhausted_hop_limit, icmp.is_time_exceeded),
    (a_narrow_path, is_too_big),
]


@pytest.mark.parametrize("version", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(("make", "shows"), TRAFFIC, ids=[make.__name__ for make, _ in TRAFFIC])
def test_the_decoder_agrees_with_tshark_about(
    lab: Lab, tmp_path: Path, make: Callable[[Lab, int], None], shows: Callable[[Packet], bool], version: int
) -> None:
    with lab.capture() as capture:
        make(lab, version)
    assert capture.trace.dropped == 0
    assert len(capture.trace.where(shows)) > 0, "this traffic is not what it claims to be"
    # In one file for all nodes: starting tshark is what takes the time.
    with (tmp_path / "all.pcap").open("wb") as file:
        writer = PcapWriter(file)
        for packet in capture.trace:
            writer.write(packet.time_ns, packet.data, packet.length)
    assert tshark.differences(tmp_path / "all.pcap") == []
