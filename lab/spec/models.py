"""The models of a topology file. Short forms are turned into the long ones before they are checked."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from lab.spec import values
from lab.spec.values import refused

Json = dict[str, Any]
_T = TypeVar("_T", values.Address, values.Network)

_ADDRESS: Json = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_PREFIX: Json = {"type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$"}
_NODE_OR_ADDRESS: Json = {"type": "string", "minLength": 1}


def _one_or_more(item: Json) -> Json:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "maxItems": 2}]}


def _text(pattern: str) -> Json:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _as_tuple(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _one_per_family(found: tuple[_T, ...]) -> tuple[_T, ...]:
    if not found:
        raise refused("found an empty list; write one, or leave the key out to have it assigned")
    if len({one.version for one in found}) < len(found):
        raise refused(f"found {len(found)} entries; allowed are one of IPv4 and one of IPv6")
    return found


def _without_default(schema: Json) -> None:
    schema.pop("default", None)


LabName = Annotated[str, PlainValidator(values.lab_name), WithJsonSchema(_text(values.LAB_NAME))]
Name = Annotated[str, PlainValidator(values.name), WithJsonSchema(_text(values.NAME))]
Mac = Annotated[str, PlainValidator(values.mac), WithJsonSchema(_text(values.MAC))]
SysctlKey = Annotated[str, PlainValidator(values.sysctl_key), WithJsonSchema(_text(values.SYSCTL_KEY))]
SysctlValue = Annotated[
    str, PlainValidator(values.sysctl_value), WithJsonSchema({"type": ["string", "integer", "boolean"]})
]
Variable = Annotated[str, PlainValidator(values.variable), WithJsonSchema(_text(values.VARIABLE))]
VariableValue = Annotated[str, PlainValidator(values.variable_value), WithJsonSchema({"type": ["string", "integer"]})]
HostName = Annotated[str, PlainValidator(values.host_name), WithJsonSchema({"type": "string", "maxLength": 253})]
NodeOrAddress = Annotated[
    values.Address | str, PlainValidator(values.name_or_address), WithJsonSchema(_NODE_OR_ADDRESS)
]
Destination = Annotated[
    values.Network | str,
    PlainValidator(values.destination),
    WithJsonSchema({"anyOf": [_PREFIX, _text(values.NAME)]}),
]
Addresses = Annotated[
    tuple[Annotated[values.Address, PlainValidator(values.address)], ...],
    BeforeValidator(_as_tuple),
    AfterValidator(_one_per_family),
    WithJsonSchema(_one_or_more(_ADDRESS)),
]
Subnets = Annotated[
    tuple[Annotated[values.Network, PlainValidator(values.subnet)], ...],
    BeforeValidator(_as_tuple),
    AfterValidator(_one_per_family),
    WithJsonSchema(_one_or_more(_PREFIX)),
]
Mtu = Annotated[int, Field(ge=576, le=65535)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class NetworkSpec(_Spec):
    """A network: one Ethernet segment. Nothing at all means every default."""

    subnet: Subnets = Field(
        default=(),
        description="A subnet like 10.0.1.0/24, or a list of one IPv4 and one IPv6 subnet. "
        "Left out: the first free 10.0.N.0/24.",
        json_schema_extra=_without_default,
    )
    mtu: Mtu = Field(default=1500, description="Largest packet of the segment, in bytes; 1280 at the least with IPv6.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, found: object) -> object:
        return {} if found is None else found

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        return _with_short_forms(handler(core_schema), handler, {"type": "null"})


class InterfaceSpec(_Spec):
    """A node's interface on a network: its address or addresses, nothing (assigned), or this long form."""

    address: Addresses = Field(
        default=(),
        description="An address without prefix length, or a list of one IPv4 and one IPv6 address. "
        "Left out: the lowest free one.",
        json_schema_extra=_without_default,
    )
    mac: Mac | None = Field(
        default=None,
        description="MAC address. Left out: made from the IPv4 address.",
    )
    mtu: Mtu | None = Field(
        default=None,
        description="Largest packet of this interface, in bytes. Left out: the network's.",
    )
    offload: bool = Field(
        default=False,
        description="Leave segmentation and checksum offloads on: faster, but captures show frames "
        "that no wire would carry.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, found: object) -> object:
        if found is None:
            return {}
        return found if isinstance(found, dict | InterfaceSpec) else {"address": found}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        return _with_short_forms(handler(core_schema), handler, {"type": "null"}, _one_or_more(_ADDRESS))


class RouteSpec(_Spec):
    """A static route."""

    to: Destination = Field(description="Where to: a prefix like 10.9.0.0/24, or a network by its name.")
    via: NodeOrAddress = Field(description="Next hop: a node on a shared network, or an address there.")


class NodeSpec(_Spec):
    """A host or router."""

    kind: Literal["host", "router"] = Field(default="host", description="A router forwards, a host does not.")
    networks: Mapping[Name, InterfaceSpec] = Field(
        default={}, description="The networks this node is on: eth0, eth1... in this order."
    )
    gateway: NodeOrAddress | None = Field(
        default=None,
        description="Default gateway: a router on a shared network, an address there, or none. "
        "Left out: the router of the host's networks, if there is exactly one.",
    )
    resolver: NodeOrAddress | None = Field(
        default=None,
        description="DNS server in resolv.conf: a node or an address.",
    )
    routes: Annotated[tuple[RouteSpec, ...], Field(strict=False)] = Field(
        default=(), description="Static routes; they win over the ones worked out between routers."
    )
    sysctls: Mapping[SysctlKey, SysctlValue] = Field(
        default={}, description="Network sysctls, like net.ipv4.conf.all.accept_redirects: 1"
    )
    environment: Mapping[Variable, VariableValue] = Field(
        default={}, description="Environment variables of the node's processes."
    )
    names: Annotated[tuple[HostName, ...], Field(strict=False)] = Field(
        default=(), description="Further names of this node in every hosts file, like www.example.com."
    )


class Topology(_Spec):
    """A lab: networks, and the nodes on them."""

    name: LabName = Field(description="The lab's name: small letters, digits and -.")
    networks: Mapping[Name, NetworkSpec] = Field(default={}, description="Ethernet segments by name.")
    nodes: Mapping[Name, NodeSpec] = Field(min_length=1, description="Hosts and routers by name.")


def _with_short_forms(schema: Json, handler: GetJsonSchemaHandler, *short: Json) -> Json:
    """Let the model's definition allow the short forms too."""
    definition = handler.resolve_ref_schema(schema)
    long = dict(definition)
    definition.clear()
    title, description = long.pop("title"), long.pop("description")
    definition.update({"title": title, "description": description, "anyOf": [*short, long]})
    return schema
