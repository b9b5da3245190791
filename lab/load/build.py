"""Plain data to Topology, and pydantic's errors in our words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from lab.load.problem import Problem
from lab.spec.models import EventSpec, ImpairmentSpec, InterfaceSpec, NetworkSpec, NodeSpec, RouteSpec, Topology
from lab.spec.quoting import show
from lab.spec.values import REFUSED

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic_core import ErrorDetails

    from lab.load.tree import Path

_QUOTED = re.compile("'([^']*)'")
_ALLOWED = {
    "bool_type": "allowed are true and false",
    "dict_type": "allowed is a mapping, lines of `key: value`",
    "int_type": "allowed is a whole number, without quotes",
    "mapping_type": "allowed is a mapping, lines of `key: value`",
    "model_type": "allowed is a mapping, lines of `key: value`",
    "string_type": "allowed is text, in quotes if it looks like something else",
    "tuple_type": "allowed is a list, lines of `- entry`",
}


def topology(data: Any) -> tuple[Topology | None, list[Problem]]:
    """Return the topology, or None and what is wrong with the data."""
    try:
        return Topology.model_validate(data), []
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A misspelt key is missing too: that is one mistake, and the unknown key shows where it is.
        misspelt = {details["loc"][:-1] for details in found if details["type"] == "extra_forbidden"}
        told = (one for one in found if one["type"] != "missing" or one["loc"][:-1] not in misspelt)
        return None, [problem(details, _keys_at(details["loc"][:-1])) for details in told]


def problem(error: ErrorDetails, keys: Collection[str], within: Path = ()) -> Problem:
    """Return an error of pydantic's as a problem.

    Args:
        keys: those that are allowed where the error is.
        within: the path to what was validated.
    """
    path, kind = (*within, *error["loc"]), error["type"]
    if kind == REFUSED:
        at_key = path[-1] == "[key]"  # pydantic's mark for a mapping's key
        return Problem(path[:-1] if at_key else path, error["ctx"]["text"], at_key=at_key)
    if kind == "extra_forbidden":
        key = str(path[-1])
        return Problem(path, f"unknown key {show(key)}", at_key=True, unknown=key, known=keys)
    if kind == "missing":
        return Problem(path[:-1], f"the key {show(path[-1])} is missing; add it")
    if kind == "too_short":
        return Problem(path, "found none; at least one is needed")
    found = f"found {show(error['input'])}"
    if kind == "literal_error":
        return Problem(path, found, unknown=str(error["input"]), known=_QUOTED.findall(error["ctx"]["expected"]))
    return Problem(path, f"{found}; {_allowed(kind, error)}")


def _allowed(kind: str, error: ErrorDetails) -> str:
    match kind:
        case "greater_than_equal":
            return f"the least is {error['ctx']['ge']}"
        case "less_than_equal":
            return f"the most is {error['ctx']['le']}"
        case _:
            return _ALLOWED.get(kind, error["msg"])


def _keys_at(path: Path) -> tuple[str, ...]:
    """Return the keys that are allowed in the mapping at `path`."""
    model: type[BaseModel] = Topology
    match path:
        case ("networks", _):
            model = NetworkSpec
        case ("nodes", _):
            model = NodeSpec
        case ("nodes", _, "networks", _):
            model = InterfaceSpec
        case ("nodes", _, "networks", _, "out" | "in"):
            model = ImpairmentSpec
        case ("nodes", _, "routes", _):
            model = RouteSpec
        case ("timeline", _):
            model = EventSpec
        case ("timeline", _, "out" | "in"):
            model = ImpairmentSpec
    return tuple(field.alias or name for name, field in model.model_fields.items())
