"""The JSON Schema of a topology file: with it an editor completes and checks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from lab.spec.models import Topology

if TYPE_CHECKING:
    from pydantic_core import CoreSchema, core_schema


def topology_schema(services: Mapping[str, type[BaseModel]] = MappingProxyType({})) -> dict[str, Any]:
    """Return the schema, short forms included. What no schema can say is checked by `lab.load` alone.

    Args:
        services: by kind of service, the model of its options.
    """
    schema = Topology.model_json_schema(schema_generator=_Generator)
    definitions = schema["$defs"]
    own = definitions["ServiceSpec"]["anyOf"][-1]["properties"]
    for model in services.values():
        long = model.model_json_schema(schema_generator=_Generator)
        definitions |= long.pop("$defs", {})
        long.pop("title")
        long["properties"] = {**own, **long.get("properties", {})}
        definitions[model.__name__] = {"title": model.__name__, "anyOf": [{"type": "null"}, long]}
    definitions["NodeSpec"]["properties"]["services"]["properties"] = {
        kind: {"$ref": f"#/$defs/{model.__name__}"} for kind, model in services.items()
    }
    return {"$schema": _Generator.schema_dialect, **schema, "title": "lab topology"}


class _Generator(GenerateJsonSchema):
    """As pydantic's, with bad names refused and without a title on each key."""

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        return {**super().dict_schema(schema), "additionalProperties": False}

    def field_title_should_be_set(self, schema: CoreSchema) -> bool:  # noqa: ARG002  # pydantic's signature
        return False
