"""The JSON Schema of a topology file: with it an editor completes and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from lab.spec.models import Topology

if TYPE_CHECKING:
    from pydantic_core import CoreSchema, core_schema


def topology_schema() -> dict[str, Any]:
    """Return the schema, short forms included. What no schema can say is checked by `lab.load` alone."""
    schema = Topology.model_json_schema(schema_generator=_Generator)
    return {"$schema": _Generator.schema_dialect, **schema, "title": "lab topology"}


class _Generator(GenerateJsonSchema):
    """As pydantic's, with bad names refused and without a title on each key."""

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        return {**super().dict_schema(schema), "additionalProperties": False}

    def field_title_should_be_set(self, schema: CoreSchema) -> bool:  # noqa: ARG002  # pydantic's signature
        return False
