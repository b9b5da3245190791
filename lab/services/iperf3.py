"""iperf3: the other end of a throughput measurement."""

# No `from __future__ import annotations`: pydantic reads the annotations at run time.
from typing import ClassVar

from pydantic import Field

from lab.services.kind import Kind, Place, Port, Program
from lab.services.options import PortNumber


class Iperf3(Kind):
    """The server side of iperf3; in another node: iperf3 --client NODE."""

    package: ClassVar[str] = "iperf3"

    port: PortNumber = Field(default=5201, description="Where it listens.")

    def program(self, place: Place) -> Program:  # noqa: ARG002 - it is the same everywhere
        """Return what to run."""
        return Program(
            arguments=("iperf3", "--server", "--port", str(self.port), "--forceflush"),
            ports=(Port("tcp", self.port),),
        )
