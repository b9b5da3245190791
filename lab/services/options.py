"""The types of options that several kinds of service have."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
import re
from collections.abc import Sized
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from lab.spec.quoting import show
from lab.spec.values import HOST_NAME, refused

_ENDPOINT = r"(?P<host>[a-z0-9][a-z0-9_.-]*|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})"
_HIGHEST = 65535


def _line(value: object) -> str:
    """Parse one line of text that can stand in a configuration file: no quotes, no control characters."""
    if isinstance(value, str) and value and value.isprintable() and not set(value) & set("\"'\\;{}`$"):
        return value
    raise refused(f"found {show(value)}; allowed is a line of text without quotes, ;, $, \\ and braces")


def _endpoint(value: object) -> str:
    if isinstance(value, str) and (found := re.fullmatch(_ENDPOINT, value)) and 0 < int(found["port"]) <= _HIGHEST:
        return value
    raise refused(f"found {show(value)}; allowed is a node or address with a port, like web:80")


def _dns_name(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(HOST_NAME, value):
        return value
    raise refused(f"found {show(value)}; a host's name is dotted words of letters, digits, - and _")


def _host(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:-]+", value):
        return value
    raise refused(f"found {show(value)}; allowed is a node's name or an address")


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _some(found: Sized) -> Sized:
    if not found:
        raise refused("found none; at least one is needed")
    return found


SOME = AfterValidator(_some)
"""For lists and mappings that must not be empty; pydantic's own limit also speaks up when an entry is wrong."""
PortNumber = Annotated[int, Field(ge=1, le=_HIGHEST)]
Line = Annotated[str, PlainValidator(_line), WithJsonSchema(_text(r"[^\"'\\;{}`$\x00-\x1f]+"))]
Endpoint = Annotated[str, PlainValidator(_endpoint), WithJsonSchema(_text("[^ ]+:[0-9]{1,5}"))]
DnsName = Annotated[str, PlainValidator(_dns_name), WithJsonSchema(_text(HOST_NAME))]
Host = Annotated[str, PlainValidator(_host), WithJsonSchema({"type": "string", "minLength": 1})]


def split(endpoint: str) -> tuple[str, int]:
    """Return host and port of an `Endpoint`."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), int(port)


def joined(address: str, port: int) -> str:
    """Return an address and a port as configuration files write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
