"""What the kernel counts: /proc/net/netstat and /proc/net/snmp (Documentation/networking/snmp_counter.rst)."""

from __future__ import annotations


def parsed(text: str) -> dict[str, int]:
    """Return the counters of such a file: pairs of lines, one with names and one with numbers, with the same prefix."""
    lines = [line.split() for line in text.splitlines()]
    return {
        prefix.rstrip(":") + name: int(value)
        for (prefix, *names), (_prefix, *values) in zip(lines[::2], lines[1::2], strict=True)
        for name, value in zip(names, values, strict=True)
    }
