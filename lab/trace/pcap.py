"""Capture files: pcap is read and written, pcapng is read (`pcapng.py`)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lab.errors import LabError
from lab.trace import pcapng

LINKTYPE_ETHERNET = 1

Record = tuple[int, bytes, int]
"""(nanoseconds since 1970, captured bytes, length on the wire)"""

_MAGIC = 0xA1B23C4D
_UNITS = {0xA1B2C3D4: 1000, _MAGIC: 1}
"""The magic number of each kind of pcap file, and how many nanoseconds its fractions of a second count."""

_SNAPLEN = 262144
_LARGEST = 1 << 24
"""No record is this large; a length beyond it means that the file is damaged."""


class CaptureFileError(LabError):
    """A capture file that cannot be read; the message begins with its path."""


class PcapWriter:
    """Writes a pcap file with nanosecond times and Ethernet frames.

    Args:
        file: opened for writing bytes; stays the caller's to flush and close.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.write(struct.pack("!IHHiIII", _MAGIC, 2, 4, 0, 0, _SNAPLEN, LINKTYPE_ETHERNET))

    def write(self, time_ns: int, data: bytes, length: int) -> None:
        """Append one frame, whose `length` on the wire may be more than `data` holds."""
        seconds, fraction = divmod(time_ns, 1_000_000_000)
        self._file.write(struct.pack("!IIII", seconds, fraction, len(data), length) + data)


def read_pcap(path: str | Path) -> Iterator[Record]:
    """Yield (nanoseconds since 1970, captured bytes, length on the wire) of each frame in a file.

    Reads pcap of either byte order with microseconds or nanoseconds, and pcapng.

    Raises:
        CaptureFileError: the file is missing, is no capture of Ethernet frames, or is damaged. Frames
            before the damage have been yielded by then.
    """
    try:
        with Path(path).open("rb") as file:
            yield from _records(file)
    except OSError as error:
        raise CaptureFileError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CaptureFileError(f"{path}: {error}") from error


def _records(file: BinaryIO) -> Iterator[Record]:
    magic = file.read(4)
    if magic == pcapng.MAGIC:
        yield from pcapng.records(file)
        return
    for order in ("<", ">"):
        if len(magic) == 4 and struct.unpack(order + "I", magic)[0] in _UNITS:  # noqa: PLR2004 - the magic's size
            yield from _pcap(file, order, _UNITS[struct.unpack(order + "I", magic)[0]])
            return
    raise ValueError("not a capture file: neither pcap nor pcapng begins like this")


def _pcap(file: BinaryIO, order: str, unit: int) -> Iterator[Record]:
    header = struct.Struct(order + "HHiIII")
    rest = file.read(header.size)
    if len(rest) < header.size:
        raise ValueError("damaged: ends inside the file header")
    linktype = header.unpack(rest)[5] & 0xFFFF
    if linktype != LINKTYPE_ETHERNET:
        raise ValueError(f"link type {linktype} is not Ethernet ({LINKTYPE_ETHERNET})")

    record = struct.Struct(order + "IIII")
    number = 1
    while head := file.read(record.size):
        if len(head) < record.size:
            raise ValueError(f"damaged: ends inside the header of frame {number}")
        seconds, fraction, captured, length = record.unpack(head)
        if captured > _LARGEST:
            raise ValueError(f"damaged: frame {number} claims {captured} bytes")
        data = file.read(captured)
        if len(data) < captured:
            raise ValueError(f"damaged: ends inside frame {number}")
        yield seconds * 1_000_000_000 + fraction * unit, data, max(length, captured)
        number += 1
