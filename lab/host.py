"""A node as a testinfra host: what runs, listens and is configured there, asked by testinfra's own modules."""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.host import Host

from lab.backends.base import RunningLab
from lab.plan.model import PlannedNode
from lab.process import Process


class NodeBackend(BaseBackend):  # type: ignore[misc] # testinfra's classes are untyped
    """Runs testinfra's commands, which are lines for a shell, in a node."""

    NAME = "lab"

    def __init__(self, lab: RunningLab, node: PlannedNode) -> None:
        super().__init__(node.name)
        self._lab = lab
        self._node = node

    def run(self, command: str, *args: str, **_options: Any) -> CommandResult:
        """Run one line in the node's shell."""
        line = self.get_command(command, *args)
        with Process(self._lab, self._node, ["/bin/sh", "-c", line]) as shell:
            done = shell.wait()
        return self.result(done.exit_code, self.encode(line), done.stdout, done.stderr)


def testinfra_host(lab: RunningLab, node: PlannedNode) -> Host:
    """Return the node as testinfra sees it."""
    return Host(NodeBackend(lab, node))
