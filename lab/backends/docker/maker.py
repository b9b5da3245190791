"""Makes labs of containers: see `lab.backends.owned.maker.Maker`."""

from __future__ import annotations

import select
import signal
from collections.abc import Callable, Mapping
from typing import cast

from lab.backends.docker import entrance, labels, objects
from lab.backends.docker.build import build
from lab.backends.docker.container import Container
from lab.backends.docker.daemon import connect
from lab.backends.owned import registry
from lab.backends.owned.built import Built
from lab.backends.owned.ownership import Lab
from lab.errors import BackendError, LabError


class DockerMaker:
    """The owner is a process of the machine; its containers and networks do not end with it: its guard removes them."""

    name = "docker"

    def set_apart(self) -> bool:
        """Leave the owner where the containers' PID namespaces can be entered from."""
        return False

    def build(self, lab: Lab, on_step: Callable[[str], None]) -> Built:
        """Build the lab."""
        return build(lab, on_step)

    def entrance(self, lab: Lab, built: Built, owner: int) -> str:
        """Return the text of the script that runs a program in a node."""
        return entrance.script(lab.plan, cast("Mapping[str, Container]", built.nodes), owner)

    def clear_before(self, lab: Lab) -> None:
        """Remove everything if there is no guard to do it."""
        if select.select([lab.guard_gone], [], [], 0)[0]:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a container ends when its programs are reaped
            self.clear_after(lab.entry)

    def clear_after(self, entry: registry.Entry) -> None:
        """Remove containers and networks, and then the folder: when the name is free, nothing has it any more.

        Raises:
            BackendError: something is left; says how it goes.
        """
        try:
            lab = labels.noted(entry)
            if lab:
                client = connect()
                objects.remove_lab(client, lab)
                if not (entry.path / registry.ENTRANCE).exists():  # the owner ended while it built
                    objects.remove_latecomers(client, lab)
        except LabError as error:
            msg = f'{error}; what is left at the daemon goes with the next lab there, or "lab down --all"'
            raise BackendError(msg) from error
        finally:
            registry.remove(entry)
