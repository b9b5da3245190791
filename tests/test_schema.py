from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from lab.services.table import KINDS
from lab.spec import topology_schema

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
TOPOLOGIES = sorted((ROOT / "topologies").glob("*.yaml"))
# `settings` has an `on`, which PyYAML takes for true.
PLANS = sorted(p for p in (ROOT / "tests" / "golden" / "plans").glob("*.yaml") if p.stem != "settings")


def test_the_committed_schema_is_current(golden: Callable[[Path, str], None]) -> None:
    golden(ROOT / "topologies" / "topology.schema.json", json.dumps(topology_schema(KINDS), indent=2) + "\n")


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(topology_schema(KINDS))


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_a_topology_is_valid_and_names_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=./topology.schema.json\n")
    _validate(yaml.safe_load(text))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_what_can_be_planned_is_valid(path: Path) -> None:
    _validate(yaml.safe_load(path.read_bytes()))


@pytest.mark.parametrize(
    "node",
    [
        {"gatway": "router"},
        {"kind": "rooter"},
        {"networks": {"Lan": None}},
        {"networks": {"lan": {"adress": "10.0.1.1"}}},
        {"networks": {"lan": 10}},
        {"sysctls": {"kernel.hostname": "x"}},
        {"environment": {"DEBUG": True}},
        {"environment": {"2FAST": 1}},
        {"routes": [{"to": "lan"}]},
        {"names": "www"},
        {"services": {"squid": {"prot": 3128}}},
        {"services": {"squid": 3128}},
        {"services": {"nginx": {"needs": [1]}}},
        None,
    ],
    ids=str,
)
def test_an_editor_marks_what_loading_refuses(node: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        _validate({"name": "lab", "networks": {"lan": None}, "nodes": {"host": node}})


def test_every_key_has_a_description() -> None:
    schema = topology_schema(KINDS)
    models = [schema, *schema["$defs"].values()]
    forms = [form for model in models for form in (model, *model.get("anyOf", ())) if "properties" in form]
    assert len(forms) > len(KINDS)
    bare = [key for form in forms for key, value in form["properties"].items() if not value.get("description")]
    assert bare == []


def _validate(data: Any) -> None:
    jsonschema.validate(data, topology_schema(KINDS), cls=jsonschema.Draft202012Validator)
