"""Showing what untrusted files and programs say: escaped, and cut to a sane length."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIMIT = 48


def escape(text: str, limit: int = _LIMIT) -> str:
    """Return `text` with what could disturb a line or a terminal escaped.

    No more than `limit` characters of it are kept; a cut is shown as `...`.
    """
    kept = harmless(text[:limit])
    return kept if len(text) <= limit else kept + "..."


def harmless(text: str, keep: str = "") -> str:
    """Return `text` with all that could steer a terminal escaped, but for the characters to keep."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def show(value: object) -> str:
    """Describe a value of the file as a message names it: `"lann"`, `the number 5`, `a list`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, dict | list | tuple):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f'"{escape(str(value))}"'


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Join names for a sentence: `a, b and c`, or `a, b and 17 more` beyond `limit`."""
    shown = [escape(name) for name in names[:limit]]
    if len(names) > limit:
        return f"{', '.join(shown)} and {len(names) - limit} more"
    if len(shown) > 1:
        return f"{', '.join(shown[:-1])} and {shown[-1]}"
    return "".join(shown)
