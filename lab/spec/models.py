"""The models of a topology file. Short forms are turned into the long ones before they are checked."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

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

from lab.faults.model import Action
from lab.spec import quantities, values
from lab.spec.values import refused

Json = dict[str, Any]
_T = TypeVar("_T", values.Address, values.Network)

_ADDRESS: Json = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_PREFIX: Json = {"type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$"}
_NEED: Json = {"type": "string", "pattern": f"^{values.NEED}$"}
_NEEDS: Json = {"anyOf": [_NEED, {"type": "array", "items": _NEED}]}
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


def _several_groups(found: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    if len(found) == 1:
        raise refused("found one group; a partition is between two at least, like [[a, b], [c]]")
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
ImageName = Annotated[str, PlainValidator(values.image_name), WithJsonSchema(_text(values.IMAGE_NAME))]
HostName = Annotated[str, PlainValidator(values.host_name), WithJsonSchema({"type": "string", "maxLength": 253})]
Need = Annotated[str, PlainValidator(values.need), WithJsonSchema(_NEED)]
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
_TARGET: Json = _text(rf"{values.TARGET}(,{values.TARGET})*")
_TARGETS: Json = {"anyOf": [_TARGET, {"type": "array", "items": _TARGET, "minItems": 1}]}
Target = Annotated[str, PlainValidator(values.target), WithJsonSchema(_TARGET)]
Targets = Annotated[tuple[Target, ...], BeforeValidator(_as_tuple), Field(min_length=1), WithJsonSchema(_TARGETS)]
Restored = Annotated[
    tuple[Target, ...],
    BeforeValidator(lambda value: () if value is None else _as_tuple(value)),
    WithJsonSchema({"anyOf": [{"type": "null"}, *_TARGETS["anyOf"]]}),
]
_GROUP: Json = {"anyOf": [_text(values.NAME), {"type": "array", "items": _text(values.NAME), "minItems": 1}]}
Group = Annotated[tuple[Name, ...], BeforeValidator(_as_tuple), Field(min_length=1), WithJsonSchema(_GROUP)]
Groups = Annotated[
    tuple[Group, ...],
    Field(strict=False),
    AfterValidator(_several_groups),
    WithJsonSchema({"type": "array", "items": _GROUP, "minItems": 2}),
]
ACTIONS: tuple[Action, ...] = ("cut", "restore", "partition", "kill", "start", "impair")
Mtu = Annotated[int, Field(ge=576, le=65535)]
_SHARE: Json = {"anyOf": [_text(quantities.SHARE), {"type": "number", "minimum": 0, "exclusiveMaximum": 1}]}
Moment = Annotated[int, PlainValidator(quantities.moment), WithJsonSchema(_text(quantities.DURATION))]
Duration = Annotated[int, PlainValidator(quantities.duration), WithJsonSchema(_text(quantities.DURATION))]
Rate = Annotated[int, PlainValidator(quantities.rate), WithJsonSchema(_text(quantities.RATE))]
Queue = Annotated[quantities.Queue, PlainValidator(quantities.queue), WithJsonSchema(_text(quantities.QUEUE))]
Share = Annotated[float, PlainValidator(quantities.share), WithJsonSchema(_SHARE)]

DELAY = Field(default=None, description="How long every frame is on its way, each way, like 10ms.")
JITTER = Field(default=None, description="How much more or less than the delay it may be, evenly spread, like 2ms.")
RATE = Field(default=None, description="How fast the link is, each way, like 10mbit; the frames' headers count.")
QUEUE = Field(
    default=None,
    description="What may wait for its turn where there is a rate, like 45kB or 50p (packets of the largest size); "
    "the rest is lost. Left out: 100p.",
)
LOSS = Field(default=None, description="How many frames are lost, like 1% or 0.01; by chance, from the lab's seed.")
DUPLICATE = Field(default=None, description="How many frames come twice, like 1%.")
REORDER = Field(default=None, description="How many frames are not delayed, and so overtake those before them.")
CORRUPT = Field(default=None, description="How many frames have one bit turned over.")


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


class ImpairmentSpec(_Spec):
    """What one direction of an interface does to its frames; it wins over what is said of both."""

    delay: Duration | None = DELAY
    jitter: Duration | None = JITTER
    rate: Rate | None = RATE
    queue: Queue | None = QUEUE
    loss: Share | None = LOSS
    duplicate: Share | None = DUPLICATE
    reorder: Share | None = REORDER
    corrupt: Share | None = CORRUPT


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
    delay: Duration | None = DELAY
    jitter: Duration | None = JITTER
    rate: Rate | None = RATE
    queue: Queue | None = QUEUE
    loss: Share | None = LOSS
    duplicate: Share | None = DUPLICATE
    reorder: Share | None = REORDER
    corrupt: Share | None = CORRUPT
    out: ImpairmentSpec | None = Field(default=None, description="What is different for frames that the node sends.")
    incoming: ImpairmentSpec | None = Field(
        default=None, alias="in", description="What is different for frames that the node is sent."
    )
    wire: bool = Field(
        default=False,
        description="Make the link a programmable wire, which tests can drop, hold and delay single packets on.",
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


class ServiceSpec(_Spec):
    """A server that the node runs. Keys besides `kind` and `needs` are options of its kind."""

    kind: Name | None = Field(default=None, description="What it is. Left out: what it is called.")
    needs: Annotated[tuple[Need, ...], BeforeValidator(_as_tuple), WithJsonSchema(_NEEDS)] = Field(
        default=(),
        description="What is to be ready before it starts: a node, or one service of it as node/service.",
        json_schema_extra=_without_default,
    )
    options: Mapping[str, Any] = Field(default={}, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, found: object) -> object:
        if not isinstance(found, dict | None):
            return found
        own = {key: value for key, value in (found or {}).items() if key in ("kind", "needs")}
        return {**own, "options": {key: value for key, value in (found or {}).items() if key not in own}}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        schema = _with_short_forms(handler(core_schema), handler, {"type": "null"})
        long = handler.resolve_ref_schema(schema)["anyOf"][-1]
        del long["properties"]["options"], long["additionalProperties"]
        return schema


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
    services: Mapping[Name, ServiceSpec] = Field(
        default={}, description="Servers of this node by their names here: a kind of service, or any name with a kind."
    )
    image: ImageName = Field(
        default="",
        description="The container image of this node on the docker backend, like ubuntu/squid:latest. Left out: one "
        "of this project's, with what its services need.",
        json_schema_extra=_without_default,
    )


class EventSpec(ImpairmentSpec):
    """Something that is done to the lab while it is up: one of the keys behind `at`, and what belongs to it."""

    at: Moment = Field(description="When, from the moment on at which the lab is up, like 5s.")
    cut: Targets = Field(
        default=(),
        description="Where nothing passes any more: a node, an interface like client:eth0, a network, "
        "or a list of two that it is between.",
        json_schema_extra=_without_default,
    )
    restore: Restored = Field(
        default=(),
        description="A cut or partition to undo; nothing at all: every one.",
        json_schema_extra=_without_default,
    )
    partition: Groups = Field(
        default=(),
        description="Groups of nodes that do not reach each other any more.",
        json_schema_extra=_without_default,
    )
    kill: Name = Field(default="", description="A node that loses its power.", json_schema_extra=_without_default)
    start: Name = Field(
        default="", description="A killed node that gets its power back.", json_schema_extra=_without_default
    )
    impair: Target = Field(
        default="",
        description="A node or interface whose impairments are from now on those that stand beside this.",
        json_schema_extra=_without_default,
    )
    carrier: bool = Field(default=False, description="Let the nodes' interfaces notice a cut, as a pulled plug does.")
    out: ImpairmentSpec | None = Field(default=None, description="What is different for frames that the node sends.")
    incoming: ImpairmentSpec | None = Field(
        default=None, alias="in", description="What is different for frames that the node is sent."
    )

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        done = self.model_fields_set & set(ACTIONS)
        if len(done) != 1:
            found = f"found {' and '.join(sorted(done))}" if done else "nothing is to be done"
            raise refused(f"{found}; an event does one thing of {', '.join(ACTIONS)}")
        lost = self.model_fields_set - {"at", *ACTIONS, *(("carrier",) if "cut" in done else ())}
        if lost and "impair" not in done:
            raise refused(f'"{min(lost)}" says nothing of {done.pop()}; take it out')
        return self


class Topology(_Spec):
    """A lab: networks, and the nodes on them."""

    name: LabName = Field(description="The lab's name: small letters, digits and -.")
    networks: Mapping[Name, NetworkSpec] = Field(default={}, description="Ethernet segments by name.")
    nodes: Mapping[Name, NodeSpec] = Field(min_length=1, description="Hosts and routers by name.")
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = Field(
        default=1, description="What every chance on the links is drawn from: the same seed, the same losses."
    )
    domain: HostName = Field(
        default="test",
        description="The domain of the nodes: in resolv.conf, and what a DNS server of the lab answers for.",
    )
    timeline: Annotated[tuple[EventSpec, ...], Field(strict=False)] = Field(
        default=(), description="What is done to the lab while it is up, in any order."
    )


def _with_short_forms(schema: Json, handler: GetJsonSchemaHandler, *short: Json) -> Json:
    """Let the model's definition allow the short forms too."""
    definition = handler.resolve_ref_schema(schema)
    long = dict(definition)
    definition.clear()
    title, description = long.pop("title"), long.pop("description")
    definition.update({"title": title, "description": description, "anyOf": [*short, long]})
    return schema
