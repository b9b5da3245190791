"""Field by field comparison of the decoder with tshark, which was written by others."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab.trace.packet import Packet, decode
from lab.trace.pcap import read_pcap
from tests.tshark_fields import FIELDS, quoted

IS_MISSING = shutil.which("tshark") is None
WHY_MISSING = "tshark is not installed; Debian has it in the package tshark"

_BETWEEN_FIELDS, _BETWEEN_VALUES = "\t", "\x1f"
_COMPLAINTS = ("_ws.malformed", "_ws.short", "_ws.expert.severity")
_WARNING = 0x600000
_PREFERENCES = (
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "tcp.relative_sequence_numbers:FALSE",
    "tcp.analyze_sequence_numbers:FALSE",
    "ip.check_checksum:TRUE",
    "tcp.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "eth.fcs:Never",
)


def differences(pcap: str | Path) -> list[str]:
    """Return one sentence for each field of each frame that the decoder and tshark see differently.

    Of a frame that the decoder calls malformed only this is asked: that tshark complains too. (It does not of
    a TCP option that is longer than the header.) DNS is compared in frames that were captured whole.
    """
    frames = [decode(data, length=length, time_ns=time) for time, data, length in read_pcap(pcap)]
    rows = _tshark(pcap)
    if len(rows) != len(frames):
        return [f"tshark sees {len(rows)} frames, the decoder {len(frames)}"]
    found = []
    for number, (packet, row) in enumerate(zip(frames, rows, strict=True), start=1):
        sentences = _complaints(packet, row) if packet.malformed else _fields(packet, row)
        found += [f"frame {number}: {sentence}" for sentence in sentences]
    return found


def _tshark(pcap: str | Path) -> list[dict[str, list[str]]]:
    names = ["frame.number", *_COMPLAINTS, *(field.name for field in FIELDS)]
    command = ["tshark", "-n", "-r", str(pcap), "-T", "fields", "-E", "occurrence=a"]
    command += ["-E", f"aggregator={_BETWEEN_VALUES}"]
    command += [argument for preference in _PREFERENCES for argument in ("-o", preference)]
    command += [argument for name in names for argument in ("-e", name)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split(_BETWEEN_FIELDS) for line in output.split("\n") if line]
    return [
        {name: text.split(_BETWEEN_VALUES) if text else [] for name, text in zip(names, row, strict=True)}
        for row in rows
    ]


def _complaints(packet: Packet, row: dict[str, list[str]]) -> list[str]:
    worst = max((int(text) for text in row["_ws.expert.severity"]), default=0)
    if row["_ws.malformed"] or row["_ws.short"] or worst >= _WARNING:
        return []
    return [f"tshark has no complaint, the decoder {'; '.join(packet.malformed)!r}"]


def _fields(packet: Packet, row: dict[str, list[str]]) -> list[str]:
    found = []
    cut_off = any(quote.malformed for quote in quoted(packet))
    captured_whole = len(packet.data) == packet.length
    for field in FIELDS:
        if field.name.startswith("dns.") and not captured_whole:
            continue
        is_status = field.name.endswith(".status")
        ours = list(field.ours(packet))
        theirs = [value for value in map(field.read, row[field.name]) if value is not None or is_status]
        # Of a quoted header that is cut off tshark shows what there is, and it judges quoted checksums.
        if cut_off or is_status:
            theirs = theirs[: len(ours)]
        if ours != theirs:
            found.append(f"{field.name} is {theirs} for tshark, {ours} for the decoder")
    return found
