"""Starts the services of a lab: those that wait for nothing at once and together, the others as they may."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from lab.backends.base import RunningLab, RunningProcess
from lab.errors import UsageError
from lab.services.kind import Port
from lab.services.service import READY_WITHIN, Service, services_of
from lab.wait import wait_until

Key = tuple[str, str]


def start(lab: RunningLab, on_step: Callable[[str], None]) -> None:
    """See `lab.services.start_all`."""
    services = services_of(lab)
    for service in services.values():
        service.check()
    _refuse_shared_ports(services)
    with ExitStack() as stack:
        starting = _Starting(services, on_step, stack)
        wait_until(starting.advance, timeout=math.inf, what="the services")


def await_ready(lab: RunningLab, node: str) -> None:
    """Return once those services of a node that run are ready, as when it has come up again.

    Raises:
        LabError: one ends, or does not become ready in time.
    """
    running = {status.name for status in lab.services() if status.node == node and status.exit_code is None}
    for service in services_of(lab).values():
        if service.node == node and service.name in running:
            with closing(lab.follow(node, service.name)) as process:
                service.wait_ready(process)


@dataclass(slots=True)
class _Starting:
    services: Mapping[Key, Service]
    on_step: Callable[[str], None]
    stack: ExitStack
    started: dict[Key, tuple[RunningProcess, float]] = field(default_factory=dict)
    ready: set[Key] = field(default_factory=set)

    def advance(self) -> bool:
        """Start what may start, note what has become ready, and say whether all is."""
        for key, (process, since) in self.started.items():
            if key in self.ready:
                continue
            if self.services[key].is_ready(process):
                self.ready.add(key)
            elif time.monotonic() - since > READY_WITHIN:
                raise self.services[key].never_ready(READY_WITHIN)
        for key, service in self.services.items():
            if key not in self.started and self.ready.issuperset(service.planned.needs):
                self.on_step("service " + "/".join(key))
                process = self.stack.enter_context(closing(service.start()))
                self.started[key] = process, time.monotonic()
        return len(self.ready) == len(self.services)


def _refuse_shared_ports(services: Mapping[Key, Service]) -> None:
    """Refuse two services of a node on one port: the later would only say that something has it.

    Raises:
        UsageError: there are such.
    """
    owners: dict[tuple[str, Port], list[str]] = defaultdict(list)
    for (node, name), service in services.items():
        for port in service.program.ports:
            owners[node, port].append(name)
    for (node, port), names in owners.items():
        if names[1:]:
            msg = f"{node}: services {' and '.join(names[:2])} both want {port}; give one another port"
            raise UsageError(msg)
