"""What one end of a TCP connection sent, put together from its segments (RFC 9293, section 3.4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.errors import LabError
from lab.trace.packet import Packet
from lab.trace.tcp import SEQUENCE_NUMBERS, TCP
from lab.trace.trace import Trace


class IncompleteStreamError(LabError):
    """Bytes of a stream were sent, as later ones show, but not captured."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One direction of a connection.

    Attributes:
        data: every byte once and in order, however often and in whatever order it was sent.
        closed: whether the sender's FIN was captured, so that nothing follows.
    """

    data: bytes
    closed: bool


def reassemble(segments: Trace) -> Stream:
    """Put together what `Conversation.from_client` or `from_server` sent.

    The stream begins at the SYN, or at the lowest sequence number where the SYN was not captured.

    Raises:
        IncompleteStreamError: bytes are missing in between.
    """
    numbered = [(packet, packet.tcp) for packet in segments if packet.tcp is not None and not packet.tcp.is_rst]
    if not numbered:
        return Stream(b"", closed=False)
    origin = _origin([tcp for _packet, tcp in numbered])
    pieces = sorted(_pieces(numbered, origin), key=lambda piece: piece[0])
    return Stream(_joined(pieces), closed=any(tcp.is_fin for _packet, tcp in numbered))


def _origin(segments: list[TCP]) -> int:
    """Return the sequence number of the stream's first byte."""
    for tcp in segments:
        if tcp.is_syn:
            return (tcp.seq + 1) % SEQUENCE_NUMBERS
    first = segments[0].seq
    return (first + min(_distance(first, tcp.seq) for tcp in segments)) % SEQUENCE_NUMBERS


def _pieces(segments: Iterable[tuple[Packet, TCP]], origin: int) -> Iterable[tuple[int, bytes, int]]:
    """Yield (offset in the stream, captured bytes, bytes on the wire) of each segment with data or FIN."""
    for packet, tcp in segments:
        if packet.payload_length or tcp.is_fin:
            yield _distance(origin, tcp.seq + tcp.is_syn), packet.payload, packet.payload_length


def _joined(pieces: Iterable[tuple[int, bytes, int]]) -> bytes:
    data = bytearray()
    end = 0
    for offset, payload, length in pieces:
        if offset > len(data):
            raise _missing(len(data), offset)
        data += payload[len(data) - offset :]
        end = max(end, offset + length)
    if end > len(data):
        raise _missing(len(data), end)
    return bytes(data)


def _missing(start: int, end: int) -> IncompleteStreamError:
    return IncompleteStreamError(f"bytes {start} to {end - 1} of the stream were not captured")


def _distance(start: int, number: int) -> int:
    """Return how far `number` lies behind `start`, negative if before it (sequence numbers wrap around)."""
    half = SEQUENCE_NUMBERS // 2
    return (number - start + half) % SEQUENCE_NUMBERS - half
