"""Programs that labs and their commands call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.command import find_tool
from lab.doctor.finding import Finding
from lab.errors import MissingToolError

if TYPE_CHECKING:
    from collections.abc import Callable

_REQUIRED = (
    "nsenter",
    "ip",
)  # `lab exec` and `lab shell` enter nodes by the one, nodes are looked at by the other
_OPTIONAL = ("tcpdump", "tshark", "ping", "nft", "ss", "ethtool", "traceroute", "strace")


def look_for_tools(find: Callable[[str], str] = find_tool) -> list[Finding]:
    """Return a finding per program.

    Args:
        find: returns the path of a program, or raises as `lab.command.find_tool` does.
    """
    return [
        *(_look_for(name, find, required=True) for name in _REQUIRED),
        *(_look_for(name, find, required=False) for name in _OPTIONAL),
    ]


def detail_and_remedy(error: MissingToolError) -> tuple[str, str]:
    """Part the message of `find_tool` into what is missing and what installs it."""
    detail, _, remedy = str(error).partition("; install it: ")
    return detail, remedy


def _look_for(name: str, find: Callable[[str], str], *, required: bool) -> Finding:
    try:
        return Finding(name, "tools", ok=True, required=required, detail=find(name), remedy="")
    except MissingToolError as error:
        detail, remedy = detail_and_remedy(error)
        return Finding(name, "tools", ok=False, required=required, detail=detail, remedy=remedy)
