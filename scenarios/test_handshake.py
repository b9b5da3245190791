"""How a TCP connection is opened and closed (the book's 3.2.3 and 3.3.1; RFC 9293 3.5, 3.6, RFC 7323, RFC 2018).

left is the client, right the server; both programs are the test itself.
"""

import socket
import struct

import pytest

from lab.mutants import command, sockets, sysctl
from lab.probes import tcp_pair
from lab.probes.tcp_pair import PORT, await_state
from lab.running import Lab
from lab.trace.packet import Packet
from lab.trace.tcp import ACK, FIN, RST, SEQUENCE_NUMBERS, SYN, TCP
from lab.trace.trace import Trace

HEADERS = 20 + 20  # bytes of IPv4 and TCP, without options
CONTROL = SYN | FIN | RST | ACK
CLOSINGS = 20
ROUTE = "ip", "route", "replace", "10.0.1.0/24", "dev", "eth0"


def segments(trace: Trace) -> list[TCP]:
    return [packet.tcp for packet in trace if packet.tcp]


def is_segment(packet: Packet) -> bool:
    return packet.tcp is not None


def open_and_close(lab: Lab) -> Trace:
    """What left sees of a connection that left opens and closes, and right closes when it is told of that."""
    left, right = lab["left"], lab["right"]
    with left.capture() as capture:
        client, server = tcp_pair.connect(left, right)
        with client, server:
            assert await_state(right, PORT, "ESTABLISHED") == "ESTABLISHED"
            client.close()
            assert await_state(left, PORT, "FIN_WAIT2") == "FIN_WAIT2"
            assert server.recv(1) == b""
        assert await_state(right, PORT, "CLOSED") == "CLOSED"
    return capture.trace.where(is_segment)


def rude(channel: socket.socket) -> socket.socket:
    """Let it end with a reset when it is closed."""
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return channel


@pytest.mark.book("3.2.3")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("left knows no SACK", sysctl("left", "net.ipv4.tcp_sack", 0))
@pytest.mark.mutant("right knows no window scale", sysctl("right", "net.ipv4.tcp_window_scaling", 0))
@pytest.mark.mutant("right knows no timestamps", sysctl("right", "net.ipv4.tcp_timestamps", 0))
@pytest.mark.mutant(
    "left's segments are smaller than its frames",
    command("left", *ROUTE, "advmss", "1000"),
)
def test_each_side_says_in_its_first_segment_what_it_can(lab: Lab) -> None:
    """The options that rule a connection are in its two SYNs: there is no other place to agree on them.

    The maximum segment size is what fits a frame beside the headers, 1460 bytes; then come selective
    acknowledgements, timestamps, and how far the window is shifted, without which none exceeds 65535 bytes. Of
    these only timestamps are in every segment from then on.
    """
    everything = segments(open_and_close(lab))
    offer, answer, *others = everything

    mtu = lab["left"].interface().mtu
    for syn in (offer, answer):
        assert syn.is_syn
        assert syn.mss == mtu - HEADERS
        assert syn.sack_permitted
        assert syn.window_scale is not None and syn.window_scale <= 14  # RFC 7323 2.3
        assert syn.timestamps
    assert offer.timestamps and offer.timestamps.echo == 0  # there is nothing to echo yet
    assert answer.timestamps and answer.timestamps.echo == offer.timestamps.value
    for later in others:
        assert later.timestamps
        assert (later.mss, later.sack_permitted, later.window_scale) == (None, False, None)


@pytest.mark.book("3.2.3")
@pytest.mark.topology(
    "two-hosts.yaml",
    sysctls={
        "right": {"net.ipv4.tcp_sack": 0, "net.ipv4.tcp_timestamps": 0, "net.ipv4.tcp_window_scaling": 0},
    },
)
@pytest.mark.mutant("right knows SACK", sysctl("right", "net.ipv4.tcp_sack", 1))
@pytest.mark.mutant("right knows timestamps", sysctl("right", "net.ipv4.tcp_timestamps", 1))
@pytest.mark.mutant("right knows window scale", sysctl("right", "net.ipv4.tcp_window_scaling", 1))
def test_what_one_side_does_not_know_neither_uses(lab: Lab) -> None:
    """The client offers everything, the server answers with the segment size alone, and that is what is used."""
    offer, answer, *others = segments(open_and_close(lab))

    assert offer.sack_permitted and offer.timestamps and offer.window_scale is not None
    assert answer.mss and not answer.sack_permitted and not answer.timestamps and answer.window_scale is None
    assert [later.options for later in others] == [()] * len(others)


@pytest.mark.book("3.3.1")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("left ends with a reset", sockets("left", rude))
@pytest.mark.mutant("left does not wait", sysctl("left", "net.ipv4.tcp_max_tw_buckets", 0))
def test_three_segments_open_a_connection_and_four_close_it(lab: Lab) -> None:
    """SYN, SYN+ACK, ACK: both sides have then told where their numbers begin and know that the other has heard it.

    Each direction is closed by itself, with a FIN and its acknowledgement. A SYN and a FIN take one sequence number
    each, which is why something can be acknowledged that has no bytes.
    """
    trace = open_and_close(lab)

    assert [(packet.direction, segment.flags & CONTROL) for packet in trace if (segment := packet.tcp)] == [
        ("out", SYN),
        ("in", SYN | ACK),
        ("out", ACK),
        ("out", FIN | ACK),
        ("in", ACK),
        ("in", FIN | ACK),
        ("out", ACK),
    ]
    assert [packet.payload_length for packet in trace] == [0] * 7
    syn, *_ = sent = [packet.tcp for packet in trace if packet.tcp and packet.direction == "out"]
    syn_ack, *_ = received = [packet.tcp for packet in trace if packet.tcp and packet.direction == "in"]
    assert [(one.seq - syn.seq) % SEQUENCE_NUMBERS for one in sent] == [0, 1, 1, 2]
    assert [(one.seq - syn_ack.seq) % SEQUENCE_NUMBERS for one in received] == [0, 1, 1]
    assert [(one.ack - syn_ack.seq) % SEQUENCE_NUMBERS for one in sent[1:]] == [1, 1, 2]
    assert [(one.ack - syn.seq) % SEQUENCE_NUMBERS for one in received] == [1, 2, 2]


@pytest.mark.book("3.3.1")
@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.mutant("right acknowledges at once", command("right", *ROUTE, "quickack", "1"))
def test_a_fin_may_carry_the_acknowledgement_of_the_other(lab: Lab) -> None:
    """A server that closes as soon as it hears of the client's FIN is done with three segments instead of four.

    The kernel delays the acknowledgement of a FIN, up to 40 ms, in the hope that something will go the same way. The
    server's own FIN does, if it is in time; so of several closings some are that short.
    """
    lengths = []
    for number in range(CLOSINGS):
        port = PORT + number
        client, server = tcp_pair.connect(lab["left"], lab["right"], port)
        with client, server, lab["left"].capture() as capture:
            client.close()
            assert server.recv(1) == b""
            server.close()
            assert await_state(lab["right"], port, "CLOSED") == "CLOSED"
        fin, *others = segments(capture.trace)
        assert fin.is_fin
        lengths.append(1 + len(others))
        if lengths[-1] == 3:
            assert [one.flags & CONTROL for one in others] == [FIN | ACK, ACK]

    assert 3 in lengths
