"""The project's own servers, by their names."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
import shutil
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from lab.errors import MissingToolError
from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import PortNumber

SERVERS = Path(__file__).resolve().parents[2] / "servers"


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
        found = find(place.kind)
        if not found:
            built = SERVERS / "build" / "bin" / place.kind
            msg = f"{place.node.name}: {place.kind} is not built: it is neither {built} nor on PATH"
            raise MissingToolError(msg)
        root = ("--root", place.path(self.root)) if self.root else ()
        return Program(
            arguments=(found, "--port", str(self.port), *root, *self.arguments),
            ports=(Port("tcp", self.port),),
            cwd=place.folder,
            unprivileged=False,
        )


def names() -> list[str]:
    """Return the names of the project's servers, built or not."""
    sources = {path.stem for path in SERVERS.glob("*.cc")}
    built = {path.name for path in (SERVERS / "build" / "bin").glob("*")}
    return sorted(sources | built)


def find(name: str) -> str | None:
    """Return the path of a server's program, built here or installed; None if it is neither."""
    return shutil.which(name, path=str(SERVERS / "build" / "bin")) or shutil.which(name)
