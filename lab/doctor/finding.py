"""What an examination found, as data and as a table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        group: the heading it belongs under: "isolation", "network", "machine" or "tools".
        required: whether labs need it at all; the others serve some labs or some commands.
        detail: one line: what was seen, or the kernel's own words for why not.
        remedy: one line: what mends it; empty if `ok`.
    """

    name: str
    group: str
    ok: bool
    required: bool
    detail: str
    remedy: str


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether everything works that labs cannot do without."""
    return all(finding.ok for finding in findings if finding.required)


def to_data(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return the findings as plain dicts, ready for JSON; the keys are the attributes of `Finding`."""
    return [dataclasses.asdict(finding) for finding in findings]


def render(findings: Sequence[Finding]) -> str:
    """Return a block of rows per group, each remedy on a line below what it mends, and a verdict."""
    names = max((len(finding.name) for finding in findings), default=0)
    states = max((len(_state(finding)) for finding in findings), default=0)
    indent = " " * (2 + names + 2 + states + 2)
    lines = []
    for group, members in groupby(findings, key=lambda finding: finding.group):
        lines.append(group)
        for finding in members:
            row = f"  {finding.name:{names}}  {_state(finding):{states}}  {finding.detail}"
            lines.append(row.rstrip())
            if finding.remedy:
                lines.append(f"{indent}-> {finding.remedy}")
        lines.append("")
    lines.append(_verdict(findings))
    return "".join(f"{line}\n" for line in lines)


def _state(finding: Finding) -> str:
    if finding.ok:
        return "ok"
    return "MISSING" if finding.required else "absent"


def _verdict(findings: Sequence[Finding]) -> str:
    missing = [finding.name for finding in findings if not finding.ok and finding.required]
    absent = [finding.name for finding in findings if not finding.ok and not finding.required]
    verdict = f"labs cannot run here; missing: {', '.join(missing)}" if missing else "labs can run here"
    return f"{verdict}; absent, needed by some labs only: {', '.join(absent)}" if absent else verdict
