"""Problems: what is wrong at which key path; and the one message made of all of them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import TopologyError
from lab.spec.quoting import escape, listed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from lab.load.tree import Located, Mark, Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a topology.

    Attributes:
        path: key path in the models' terms; parts that the file's short form lacks are passed over.
        text: what was found; what is allowed; what to do.
        at_key: whether the key at the path's end is wrong, and not its value.
        unknown: a word that is none of `known`; the message then offers the nearest one. It is looked for
            only in the problem that is reported, so that a file with thousands stays quick.
    """

    path: Path
    text: str
    at_key: bool = False
    unknown: str | None = None
    known: Collection[str] = ()


def first_of(problems: Sequence[Problem], located: Located, source: str) -> TopologyError:
    """Return the error for the problem that comes first in the file; it says how many more there are."""
    places = [_place(problem, located) for problem in problems]
    first = min(range(len(problems)), key=lambda index: places[index][1])
    path, mark = places[first]
    text = problems[first].text + _suggestion(problems[first])
    if len(problems) > 1:
        text += f" (and {len(problems) - 1} more)"
    return error_at(source, mark, path, text)


def error_at(source: str, mark: Mark, path: Path, text: str) -> TopologyError:
    """Return the error whose line is `source:line:column: key.path: text`."""
    shown = f"{_dotted(path)}: " if path else ""
    return TopologyError(f"{source}:{mark.line}:{mark.column}: {shown}{text}")


def _place(problem: Problem, located: Located) -> tuple[Path, Mark]:
    """Return the problem's path as the file has it, and where that is."""
    path: Path = ()
    for part in problem.path:
        if (*path, part) in located.values:
            path = (*path, part)
    return path, (located.keys if problem.at_key else located.values)[path]


def _suggestion(problem: Problem) -> str:
    if problem.unknown is None:
        return ""
    near = difflib.get_close_matches(problem.unknown[:64], problem.known, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; allowed: {listed(tuple(problem.known), limit=8)}" if problem.known else "; there are none"


def _dotted(path: Path) -> str:
    """Write a key path as `nodes.host.routes[0].via`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{escape(part)}" for part in path).lstrip(".")
