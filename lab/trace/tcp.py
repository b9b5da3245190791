"""TCP (RFC 9293)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeVar

from lab.trace import tcp_options
from lab.trace.tcp_options import MaximumSegmentSize, Option, Sack, SackPermitted, Timestamps, WindowScale

FIN = 0x001
SYN = 0x002
RST = 0x004
PSH = 0x008
ACK = 0x010
URG = 0x020
ECE = 0x040
CWR = 0x080
AE = 0x100
"""Accurate ECN (RFC 9768), the former nonce sum."""

HEADER_LENGTH = 20
SEQUENCE_NUMBERS = 1 << 32
"""Where sequence numbers begin again at 0."""

_HEADER = struct.Struct("!HHIIHHHH")
_Kind = TypeVar("_Kind", bound=Option)


@dataclass(frozen=True, slots=True)
class TCP:
    """A TCP header.

    Attributes:
        seq: absolute, as `ack`.
        header_length: bytes, options included.
        flags: twelve bits, the three reserved ones included.
        window: as sent, not scaled.
    """

    source_port: int
    destination_port: int
    seq: int
    ack: int
    header_length: int
    flags: int
    window: int
    checksum: int
    urgent_pointer: int
    options: tuple[Option, ...]

    @property
    def is_fin(self) -> bool:
        """No more data comes from the sender."""
        return self.flags & FIN != 0

    @property
    def is_syn(self) -> bool:
        """The sender's sequence numbers begin here."""
        return self.flags & SYN != 0

    @property
    def is_rst(self) -> bool:
        """The connection is reset."""
        return self.flags & RST != 0

    @property
    def is_psh(self) -> bool:
        """The data should reach the application now."""
        return self.flags & PSH != 0

    @property
    def is_ack(self) -> bool:
        """`ack` counts."""
        return self.flags & ACK != 0

    @property
    def is_urg(self) -> bool:
        """`urgent_pointer` counts."""
        return self.flags & URG != 0

    @property
    def mss(self) -> int | None:
        """The maximum segment size, in bytes."""
        option = self._first(MaximumSegmentSize)
        return None if option is None else option.value

    @property
    def window_scale(self) -> int | None:
        """The shift of the sender's windows, in bits."""
        option = self._first(WindowScale)
        return None if option is None else option.shift

    @property
    def sack_permitted(self) -> bool:
        """Whether the sender understands selective acknowledgments."""
        return self._first(SackPermitted) is not None

    @property
    def sack_blocks(self) -> tuple[tuple[int, int], ...]:
        """Absolute (first, behind the last); empty without the option."""
        option = self._first(Sack)
        return () if option is None else option.blocks

    @property
    def timestamps(self) -> Timestamps | None:
        """The timestamps option."""
        return self._first(Timestamps)

    def _first(self, kind: type[_Kind]) -> _Kind | None:
        return next((option for option in self.options if isinstance(option, kind)), None)


def decode(data: bytes, start: int, claimed: int, faults: list[str]) -> TCP | None:
    """Decode the header at `start`; None where its fixed part is cut off.

    `claimed` is how many bytes the IP packet has from `start` on, as IP says.
    """
    captured = min(len(data) - start, claimed)
    if captured < HEADER_LENGTH:
        faults.append(f"tcp: cut off after {captured} of {HEADER_LENGTH} bytes")
        return None
    source_port, destination_port, seq, ack, bits, window, checksum, urgent_pointer = _HEADER.unpack_from(data, start)
    header_length = (bits >> 12) * 4
    options: tuple[Option, ...] = ()
    if header_length > HEADER_LENGTH:
        if captured < header_length:
            faults.append(f"tcp: cut off after {captured} of {header_length} bytes")
        end = start + min(header_length, captured)
        options = tcp_options.decode(data[start + HEADER_LENGTH : end], faults)
    elif header_length < HEADER_LENGTH:
        faults.append(f"tcp: data offset {bits >> 12} is below 5")
    return TCP(
        source_port,
        destination_port,
        seq,
        ack,
        header_length,
        bits & 0x0FFF,
        window,
        checksum,
        urgent_pointer,
        options,
    )
