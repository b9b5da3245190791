"""No bytes make the decoder, or what is built on it, raise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.trace.packet import Packet, decode
from lab.trace.trace import Trace
from tests import trace_packets as built

SAMPLES = built.samples()
ARP_LENGTH = 14 + 28


def everything(packet: Packet) -> str:
    """Ask all that can be asked of a packet, and return its line."""
    assert packet.checksum_ok in {True, False, None}
    assert len(packet.payload) <= packet.payload_length
    assert packet.dns is None or packet.dns.id >= 0
    trace = Trace((packet,))
    assert len(trace.conversations()) == (packet.tcp is not None)
    (line,) = trace.lines()
    assert line.isascii()
    assert line.isprintable()
    return line


@pytest.mark.parametrize("name", SAMPLES)
def test_a_frame_cut_at_any_byte_is_marked_or_shortened(name: str) -> None:
    frame = SAMPLES[name]
    whole = decode(frame)
    needed = ARP_LENGTH if whole.arp else whole.payload_offset + whole.payload_length
    for size in range(len(frame)):
        packet = decode(frame[:size])
        everything(packet)
        assert packet.malformed or size >= needed or len(packet.payload) < len(whole.payload)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_frame_captured_in_part_is_marked_only_where_a_header_is_cut(name: str) -> None:
    frame = SAMPLES[name]
    whole = decode(frame)
    for size in range(len(frame)):
        packet = decode(frame[:size], length=len(frame))
        everything(packet)
        if packet.malformed == () and size > whole.payload_offset and whole.arp is None:
            assert (packet.ip, packet.tcp, packet.udp) == (whole.ip, whole.tcp, whole.udp)
            assert packet.payload_length == whole.payload_length


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(frame: bytes) -> None:
    everything(decode(frame))


@settings(deadline=None)
@given(
    st.sampled_from([0x0800, 0x86DD, 0x0806, 0x8100]),
    st.sampled_from([b"", b"\x45", b"\x4f", b"\x60"]),
    st.binary(max_size=200),
)
def test_arbitrary_bytes_in_a_known_protocol_never_raise(ethertype: int, start: bytes, body: bytes) -> None:
    everything(decode(built.ethernet(start + body, ethertype)))


@settings(deadline=None)
@given(st.sampled_from([1, 6, 17, 58]), st.binary(max_size=120), st.booleans())
def test_arbitrary_bytes_in_ip_never_raise(protocol: int, body: bytes, version_6: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    frame = built.ethernet(
        built.ipv6(body, protocol) if version_6 else built.ipv4(body, protocol),
        0x86DD if version_6 else 0x0800,
    )
    everything(decode(frame))


@settings(deadline=None)
@given(st.sampled_from([0, 43, 44, 51, 60]), st.binary(max_size=120))
def test_arbitrary_extension_headers_never_raise(number: int, body: bytes) -> None:
    everything(decode(built.ethernet(built.ipv6(body, number), 0x86DD)))


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_arbitrary_tcp_options_never_raise(options: bytes) -> None:
    everything(decode(built.tcp4(b"data", options=options)))


@settings(deadline=None)
@given(st.integers(0, 255), st.binary(min_size=3, max_size=120))
def test_arbitrary_control_messages_never_raise(type_: int, body: bytes) -> None:
    everything(decode(built.icmp4(bytes([type_]) + body)))
    everything(decode(built.nd(type_, body)))


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_dns_messages_never_raise(body: bytes) -> None:
    everything(decode(built.udp4(body, (40000, 53))))
    everything(decode(built.udp4(built.ANSWER.to_wire()[:2] + body, (40000, 53))))


@settings(deadline=None)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_mutated_frame_never_raises(name: str, changes: list[tuple[int, int]]) -> None:
    frame = bytearray(SAMPLES[name])
    for place, value in changes:
        frame[place % len(frame)] = value
    everything(decode(bytes(frame)))


@settings(deadline=None)
@given(st.text(max_size=10), st.text(max_size=10))
def test_no_name_of_a_node_can_steer_a_terminal(node: str, interface: str) -> None:
    everything(decode(SAMPLES["udp"], node=node, interface=interface))
