"""xinetd: starts a program for each connection."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import SOME, Line
from lab.spec.quoting import show
from lab.spec.values import refused

_HIGHEST = 65535
# Its standard output leads nowhere.
_DEFAULTS = """\
defaults
{
    log_type = FILE /dev/stderr
    log_on_success = HOST PID EXIT
    log_on_failure = HOST
}
"""
_SERVICE = """
service port-{port}
{{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    wait = no
    port = {port}
    user = lab
    server = {server}
{arguments}}}
"""


def _key(value: object) -> str:
    if isinstance(value, str) and value.isdecimal() and 0 < int(value) <= _HIGHEST:
        return str(int(value))
    raise refused(f"found {show(value)}; allowed is a port, 1 to {_HIGHEST}")


def _absolute(command: object) -> tuple[str, ...]:
    words = tuple(command) if isinstance(command, list | tuple) else (command,)
    if words and all(isinstance(word, str) for word in words) and str(words[0]).startswith("/"):
        return tuple(map(str, words))
    raise refused("allowed is a list: the whole path of a program, and its arguments")


_Key = Annotated[str, PlainValidator(_key), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,5}$"})]
_Command = Annotated[
    tuple[Line, ...],
    PlainValidator(_absolute),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]


class Xinetd(Kind):
    """A program for each connection, with the connection as its standard input and output."""

    package: ClassVar[str] = "xinetd"

    ports: Annotated[Mapping[_Key, _Command], SOME] = Field(
        description="The program, with its arguments, for each port: 7: [/bin/cat]"
    )

    def program(self, place: Place) -> Program:
        """Return what to run."""
        path = f"{place.home}/xinetd.conf"
        services = (
            _SERVICE.format(
                port=port,
                server=command[0],
                arguments=f"    server_args = {' '.join(command[1:])}\n" if command[1:] else "",
            )
            for port, command in self.ports.items()
        )
        return Program(
            # What it says of itself goes to syslog by default, which no node has.
            arguments=("xinetd", "-dontfork", "-filelog", "/dev/stderr", "-f", path, "-pidfile", f"{place.home}/pid"),
            files={path: _DEFAULTS + "".join(services)},
            ports=tuple(Port("tcp", int(port)) for port in self.ports),
        )
