"""Any command."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, get_args

from pydantic import Field, PlainValidator, WithJsonSchema

from lab.netlink.sockdiag import Protocol
from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import SOME
from lab.spec.models import Variable, VariableValue
from lab.spec.quoting import show
from lab.spec.values import refused

_HIGHEST = 65535


def _port(value: object) -> Port:
    if isinstance(value, Port):
        return value
    found = re.fullmatch(r"([0-9]{1,5})(?:/(tcp|udp))?", str(value))
    if found and not isinstance(value, bool) and 0 < int(found[1]) <= _HIGHEST:
        return Port(next(one for one in get_args(Protocol) if one == (found[2] or "tcp")), int(found[1]))
    raise refused(f"found {show(value)}; allowed is a port, or one with its protocol, like 53/udp")


_PORT_SCHEMA = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]{1,5}(/(tcp|udp))?$"}]}
_Port = Annotated[Port, PlainValidator(_port), WithJsonSchema(_PORT_SCHEMA)]


class Command(Kind):
    """Any program, as root of the node."""

    package: ClassVar[str] = ""

    run: Annotated[tuple[str, ...], Field(strict=False), SOME] = Field(
        description="The program and its arguments, a list."
    )
    listens: Annotated[tuple[_Port, ...], Field(strict=False)] = Field(
        default=(), description="Ports like 80 or 53/udp; it is ready when it listens on all of them."
    )
    environment: Mapping[Variable, VariableValue] = Field(
        default={}, description="Environment variables, on top of the node's."
    )

    def program(self, place: Place) -> Program:
        """Return what to run."""
        return Program(
            arguments=self.run,
            ports=self.listens,
            environment=self.environment,
            cwd=place.folder,
            unprivileged=False,
        )
