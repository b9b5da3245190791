"""Multicast listener discovery, version 1 (RFC 2710) and 2 (RFC 3810)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

QUERY = 130
REPORT = 131
DONE = 132
REPORT_V2 = 143

TYPES = frozenset({QUERY, REPORT, DONE, REPORT_V2})

_ADDRESS = 16
_V1_LENGTH = 24
_QUERY_V2_LENGTH = 28
_REPORT_V2_LENGTH = 8
_RECORD_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Record:
    """What a listener says of one group.

    Attributes:
        type: 1 include, 2 exclude, 3 and 4 the change to them, 5 allow, 6 block.
    """

    type: int
    group: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MLD:
    """The part of a message behind ICMPv6's header.

    Attributes:
        group: "::" in a general query; None in a version 2 report, which has `records`.
        max_response: of a query, as sent: milliseconds in version 1, a code in version 2.
        sources: of a version 2 query.
        records: of a version 2 report.
    """

    version: int
    group: str | None = None
    max_response: int | None = None
    sources: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()


def decode(message: bytes, faults: list[str]) -> MLD | None:
    """Decode an ICMPv6 message of one of `TYPES`; None where its fixed part is cut off."""
    if message[0] == REPORT_V2:
        return MLD(2, records=_records(message, faults))
    if len(message) < _V1_LENGTH:
        faults.append(f"mld: cut off after {len(message)} of {_V1_LENGTH} bytes")
        return None
    group = socket.inet_ntop(socket.AF_INET6, message[8:_V1_LENGTH])
    if message[0] != QUERY:
        return MLD(1, group)
    (max_response,) = struct.unpack_from("!H", message, 4)
    if len(message) < _QUERY_V2_LENGTH:  # RFC 3810, section 8.1: the length tells the version
        return MLD(1, group, max_response)
    (count,) = struct.unpack_from("!H", message, 26)
    return MLD(2, group, max_response, sources=_sources(message, _QUERY_V2_LENGTH, count, faults))


def _records(message: bytes, faults: list[str]) -> tuple[Record, ...]:
    (count,) = struct.unpack_from("!H", message, 6)
    records: list[Record] = []
    start = _REPORT_V2_LENGTH
    for _ in range(count):
        if len(message) < start + _RECORD_LENGTH:
            faults.append(f"mld: {len(records)} of {count} records")
            break
        type_, auxiliary_words, source_count, group = struct.unpack_from("!BBH16s", message, start)
        sources = _sources(message, start + _RECORD_LENGTH, source_count, faults)
        records.append(Record(type_, socket.inet_ntop(socket.AF_INET6, group), sources))
        start += _RECORD_LENGTH + _ADDRESS * source_count + 4 * auxiliary_words
    return tuple(records)


def _sources(message: bytes, start: int, count: int, faults: list[str]) -> tuple[str, ...]:
    there = min(count, max(0, len(message) - start) // _ADDRESS)
    if there < count:
        faults.append(f"mld: {there} of {count} source addresses")
    slots = range(start, start + _ADDRESS * there, _ADDRESS)
    return tuple(socket.inet_ntop(socket.AF_INET6, message[at : at + _ADDRESS]) for at in slots)
