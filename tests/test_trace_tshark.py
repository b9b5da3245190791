"""The decoder and tshark see the same in every field."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.trace.pcap import PcapWriter
from tests import trace_packets as built
from tests import tshark
from tests.tshark_fields import Field

pytestmark = pytest.mark.skipif(tshark.IS_MISSING, reason=tshark.WHY_MISSING)

SAMPLES = built.samples()


def write(path: Path, frames: list[tuple[bytes, int]]) -> Path:
    with path.open("wb") as file:
        writer = PcapWriter(file)
        for time, (data, length) in enumerate(frames):
            writer.write(time, data, length)
    return path


def test_well_formed_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [(frame, len(frame)) for frame in SAMPLES.values()])
    assert tshark.differences(path) == []


def test_frames_with_wrong_checksums(tmp_path: Path) -> None:
    names = ["udp", "udp6", "tcp_data", "tcp6", "echo_request", "echo_request6"]
    broken = [SAMPLES[name][:-1] + bytes([SAMPLES[name][-1] ^ 1]) for name in names]
    broken.append(SAMPLES["udp"][:22] + b"\x01" + SAMPLES["udp"][23:])
    path = write(tmp_path / "a.pcap", [(frame, len(frame)) for frame in broken])
    assert tshark.differences(path) == []


def test_frames_captured_in_part(tmp_path: Path) -> None:
    names = ["tcp_data", "udp", "udp6", "redirect", "dns_answer"]
    frames = [(SAMPLES[name][:-4], len(SAMPLES[name])) for name in names]
    frames += [(SAMPLES[name][:50], len(SAMPLES[name])) for name in names]
    assert tshark.differences(write(tmp_path / "a.pcap", frames)) == []


@pytest.mark.parametrize(
    "frame",
    [
        SAMPLES["udp"][:38],
        SAMPLES["tcp_syn"][:50],
        SAMPLES["tcp_syn"][:60],
        built.tcp4(options=b"\x02\x03\x05\x01"),
        SAMPLES["tcp_fin"][:46] + b"\x30" + SAMPLES["tcp_fin"][47:],
        SAMPLES["udp"][:16] + b"\x01\0" + SAMPLES["udp"][18:],
        SAMPLES["udp"][:14] + b"\x44" + SAMPLES["udp"][15:],
        SAMPLES["udp"][:38] + b"\0\x40" + SAMPLES["udp"][40:],
        SAMPLES["neighbor_solicitation"][:79] + b"\0" + SAMPLES["neighbor_solicitation"][80:],
    ],
)
def test_tshark_finds_fault_where_the_decoder_does(tmp_path: Path, frame: bytes) -> None:
    assert tshark.differences(write(tmp_path / "a.pcap", [(frame, len(frame))])) == []


def test_a_difference_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tshark, "FIELDS", (Field("ip.ttl", int, lambda _: [63]),))
    path = write(tmp_path / "a.pcap", [(SAMPLES["udp"], len(SAMPLES["udp"]))])
    assert tshark.differences(path) == ["frame 1: ip.ttl is [64] for tshark, [63] for the decoder"]
