"""Walking the kind-length-value options that IPv4 (RFC 791) and TCP (RFC 9293) share the form of."""

from __future__ import annotations

END = 0
NOP = 1

_SMALLEST = 2


def walk(options: bytes, layer: str, faults: list[str]) -> list[tuple[int, bytes]]:
    """Split an options field into (kind, value) pairs.

    Stops behind an end-of-options, or at the first option whose length leads nowhere: that one is
    a fault, and what follows cannot be told apart.
    """
    found = []
    start, end = 0, len(options)
    while start < end:
        kind = options[start]
        if kind == NOP:
            found.append((NOP, b""))
            start += 1
            continue
        if kind == END:
            found.append((END, b""))
            break
        if start + 1 == end:
            faults.append(f"{layer}: option {kind} has no length")
            break
        length = options[start + 1]
        if length < _SMALLEST:
            faults.append(f"{layer}: option {kind} has length {length}")
            break
        if start + length > end:
            faults.append(f"{layer}: option {kind} of {length} bytes has only {end - start}")
            break
        found.append((kind, options[start + 2 : start + length]))
        start += length
    return found
