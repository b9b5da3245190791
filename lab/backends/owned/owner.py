"""The owner of one lab: holder of all its namespaces, parent of its programs.

It does what clients ask over its socket, one request after the other, and ends when it is told to, when the
client that it was started for goes (unless that has detached it), or when its guard goes.
"""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

from lab.backends.owned import clock, messages, registry, resources
from lab.backends.owned.ownership import Lab
from lab.backends.owned.serving import Service
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
        lab.go_on()
        if lab.tells_steps:
            messages.send(lab.client, {"step": name})

    built = lab.maker.build(lab, on_step)
    registry.write(lab.entry, registry.ENTRANCE, lab.maker.entrance(lab, built, own_process), 0o600)
    service = Service(lab, built, registry.listen(lab.entry))
    service.impairments.start()
    return service
