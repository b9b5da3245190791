"""The owner of one lab: process 1 of the lab's PID namespace, holder of all its namespaces, parent of its processes.

It does what clients ask over its socket, one request after the other, and ends when it is told to, when the
client that it was started for goes (unless that has detached it), or when its guard goes.
"""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

from lab.backends.netns import clock, entrance, messages, registry, resources
from lab.backends.netns.build import build
from lab.backends.netns.ownership import Lab
from lab.backends.netns.serving import Service
from lab.errors import LabError


def run(lab: Lab) -> None:
    """Build the lab, tell the client, and serve; returns only if the lab could not be built."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for not_for_us in (signal.SIGINT, signal.SIGHUP):
        signal.signal(not_for_us, lambda *_: None)  # SIG_IGN would be inherited by every program of the lab
    own_process = int(Path("/proc/self").readlink().name)  # the machine's number, as /proc still is the machine's
    resources.allow_many_descriptors()
    packet_clock = clock.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    gc.disable()  # building makes many objects and no rubbish, and the collector would look through all of them
    try:
        service = _come_up(lab, own_process)
        gc.enable()
        messages.send(lab.client, {"ready": True})
    except LabError as error:
        messages.send(lab.client, messages.describe(error))
        return
    except messages.ConnectionLostError:
        return
    with packet_clock:
        service.serve()


def _come_up(lab: Lab, own_process: int) -> Service:
    def on_step(name: str) -> None:
        lab.end_if_guard_gone()
        messages.send(lab.client, {"step": name})

    built = build(lab.plan, lab.staging, lab.shared, on_step)
    text = entrance.script(lab.plan, built.nodes, lab.shared, own_process, rootless=lab.rootless)
    registry.write(lab.entry, entrance.FILE, text, 0o700)
    service = Service(lab, built, registry.listen(lab.entry))
    service.impairments.start()
    return service
