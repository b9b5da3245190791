"""Capture files."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.trace.pcap import CaptureFileError, PcapWriter, read_pcap
from tests import tshark

FRAMES = [(1_700_000_000_123_456_789, b"x" * 60, 60), (1_700_000_001_000_000_001, b"y" * 20, 1514)]
SECOND = 1_700_000_000
NANOSECONDS = SECOND * 1_000_000_000


def written(frames: list[tuple[int, bytes, int]]) -> bytes:
    file = io.BytesIO()
    writer = PcapWriter(file)
    for frame in frames:
        writer.write(*frame)
    return file.getvalue()


def pcap(order: str, magic: int, fraction: int, linktype: int = 1) -> bytes:
    header = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, linktype)
    return header + struct.pack(order + "IIII", SECOND, fraction, 3, 99) + b"abc"


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def pcapng(order: str, *blocks: bytes) -> bytes:
    section = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    return block(order, 0x0A0D0D0A, section) + b"".join(blocks)


def interface(order: str, options: bytes = b"", linktype: int = 1, snaplen: int = 0) -> bytes:
    return block(order, 1, struct.pack(order + "HHI", linktype, 0, snaplen) + options)


def packet(order: str, ticks: int) -> bytes:
    return block(order, 6, struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, 3, 99) + b"abc")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(written(FRAMES))
    assert list(read_pcap(path)) == FRAMES


@pytest.mark.skipif(tshark.IS_MISSING, reason=tshark.WHY_MISSING)
def test_wireshark_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(written(FRAMES))
    command = [
        "tshark",
        "-r",
        str(path),
        "-T",
        "fields",
        "-e",
        "frame.time_epoch",
        "-e",
        "frame.len",
        "-e",
        "frame.cap_len",
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.split() == ["1700000000.123456789", "60", "60", "1700000001.000000001", "1514", "20"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "time"), [(0xA1B2C3D4, NANOSECONDS + 7000), (0xA1B23C4D, NANOSECONDS + 7)])
def test_pcap_of_either_byte_order_and_unit_is_read(tmp_path: Path, order: str, magic: int, time: int) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(order, magic, 7))
    assert list(read_pcap(path)) == [(time, b"abc", 99)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("options", "ticks", "time"),
    [
        (b"", SECOND * 10**6 + 5, NANOSECONDS + 5000),
        (b"\x09", SECOND * 10**9 + 5, NANOSECONDS + 5),
        (b"\x81", SECOND * 2 + 1, NANOSECONDS + 500_000_000),
    ],
)
def test_pcapng_is_read_with_the_resolution_it_names(
    tmp_path: Path, order: str, options: bytes, ticks: int, time: int
) -> None:
    field = struct.pack(order + "HH", 9, 1) + options + bytes(3) if options else b""
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng(order, interface(order, field), block(order, 5, bytes(8)), packet(order, ticks)))
    assert list(read_pcap(path)) == [(time, b"abc", 99)]


def test_a_pcapng_time_offset_is_added(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng("<", interface("<", struct.pack("<HHqHH", 14, 8, SECOND, 0, 0)), packet("<", 5)))
    assert list(read_pcap(path)) == [(NANOSECONDS + 5000, b"abc", 99)]


def test_pcapng_options_are_padded_to_four_bytes(tmp_path: Path) -> None:
    options = struct.pack("<HH", 2, 5) + b"eth10" + bytes(3) + struct.pack("<HHBxxx", 9, 1, 9)
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng("<", interface("<", options), packet("<", NANOSECONDS + 5)))
    assert list(read_pcap(path)) == [(NANOSECONDS + 5, b"abc", 99)]


def test_a_simple_packet_of_pcapng_has_no_time(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng("<", interface("<", snaplen=3), block("<", 3, struct.pack("<I", 99) + b"abc")))
    assert list(read_pcap(path)) == [(0, b"abc", 99)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a capture file: neither pcap nor pcapng begins like this"),
        (b"GIF89a", "not a capture file: neither pcap nor pcapng begins like this"),
        (written(FRAMES)[:20], "damaged: ends inside the file header"),
        (written(FRAMES)[:30], "damaged: ends inside the header of frame 1"),
        (written(FRAMES)[:50], "damaged: ends inside frame 1"),
        (written(FRAMES)[:-1], "damaged: ends inside frame 2"),
        (pcap("<", 0xA1B2C3D4, 0, linktype=101), "link type 101 is not Ethernet (1)"),
        (
            pcap("<", 0xA1B2C3D4, 0)[:32] + b"\xff\xff\xff\x7f" + bytes(4),
            "damaged: frame 1 claims 2147483647 bytes",
        ),
        (pcapng("<")[:10], "damaged: a section header without byte order"),
        (pcapng("<")[:20], "damaged: block 1 is cut off or has wrong lengths"),
        (pcapng("<", packet("<", 1)), "damaged: block 2 is cut off or has wrong lengths"),
        (
            pcapng("<", interface("<"), packet("<", 1)[:-9]),
            "damaged: block 3 is cut off or has wrong lengths",
        ),
        (
            pcapng("<", interface("<"), block("<", 6, bytes(12) + b"\x09" + bytes(7))),
            "damaged: block 3 is cut off or has wrong lengths",
        ),
        (pcapng("<", interface("<", linktype=101), packet("<", 1)), "link type 101 is not Ethernet (1)"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_that_names_it(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.pcap"
    path.write_bytes(content)
    with pytest.raises(CaptureFileError) as caught:
        list(read_pcap(path))
    assert str(caught.value) == f"{path}: {message}"
    assert isinstance(caught.value, LabError)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureFileError, match=r"none\.pcap: cannot be read: No such file or directory"):
        list(read_pcap(tmp_path / "none.pcap"))


def test_frames_before_the_damage_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bad.pcap"
    path.write_bytes(written(FRAMES)[:-1])
    frames = read_pcap(path)
    assert next(frames) == FRAMES[0]


@pytest.mark.parametrize("content", [written(FRAMES), pcapng("<", interface("<"), packet("<", 1))])
def test_a_file_cut_at_any_byte_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cut.pcap"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        try:
            frames = list(read_pcap(path))
        except CaptureFileError:
            continue
        assert len(frames) < 2
