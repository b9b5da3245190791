"""The project's own servers, by their names."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
from typing import Annotated, ClassVar

from pydantic import Field

from lab import servers
from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import PortNumber


class Reference(Kind):
    """A server that understands `--port N [--root FOLDER]` and listens when it is ready."""

    package: ClassVar[str] = ""

    port: PortNumber = Field(default=80, description="Where it listens.")
    root: str | None = Field(
        default=None, description="The folder that it serves, from the topology file's own folder onwards."
    )
    arguments: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="Further arguments, a list."
    )

    def program(self, place: Place) -> Program:
        """Return what to run.

        Raises:
            MissingToolError: it is not built.
        """
        root = ("--root", place.path(self.root)) if self.root else ()
        return Program(
            arguments=(servers.program(place.kind), "--port", str(self.port), *root, *self.arguments),
            ports=(Port("tcp", self.port),),
            cwd=place.folder,
            unprivileged=False,
        )
