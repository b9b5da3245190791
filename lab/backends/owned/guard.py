"""Stands beside a lab's owner, outside of its namespaces, and clears away what is left when it is gone."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import time
from typing import Any

from lab.backends.owned import entrants, messages, owner, registry
from lab.backends.owned.maker import Maker
from lab.backends.owned.ownership import Lab
from lab.errors import LabError
from lab.plan.model import Plan
from lab.wait import wait_until

_ENDINGS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def run(message: messages.Message, maker: Maker) -> None:
    """Make the lab that the message asks for, and return when all of it is gone.

    The message's descriptors are the client's channel and a file with the plan as JSON.
    """
    channel_descriptor, plan_descriptor = message.descriptors
    client = socket.socket(fileno=channel_descriptor)
    os.setsid()
    _let_go_of_terminal()
    try:
        with open(plan_descriptor, encoding="utf-8") as file:  # noqa: PTH123 - by descriptor
            text = file.read()
        plan = Plan.from_data(json.loads(text))
        entry = registry.create(plan.name, text, message.body["source"], guard=os.getpid())
    except LabError as error:
        messages.send(client, messages.describe(error))
        return
    gone_reader, gone_writer = os.pipe()
    try:
        _guard(plan, entry, client, message.body, maker, (gone_reader, gone_writer))
    except Exception as error:  # noqa: BLE001 - whatever it is, the client must hear of it
        messages.send(client, messages.describe(error))
    finally:
        _clear(maker, entry, gone_writer)


def _clear(maker: Maker, entry: registry.Entry, gone: int) -> None:
    """Clear up; tell what cannot be cleared away to who waits for the end."""
    try:
        maker.clear_after(entry)
    except LabError as error:
        os.write(gone, str(error).encode())


def _guard(
    plan: Plan,
    entry: registry.Entry,
    client: socket.socket,
    options: dict[str, Any],
    maker: Maker,
    gone: tuple[int, int],
) -> None:
    rootless = maker.set_apart()
    gone_reader, gone_writer = gone
    alive_reader, alive_writer = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    owner_process = os.fork()
    if owner_process == 0:
        os.close(gone_writer)
        os.close(alive_reader)
        _become_owner(Lab(plan, entry, client, gone_reader, rootless, options, maker))
    facts = {"owner": owner_process, "guard": os.getpid(), "since": time.time(), "rootless": rootless}
    told = {"name": plan.name, "backend": maker.name, "source": options["source"], "nodes": len(plan.nodes)}
    registry.write_owner(entry, {**told, **facts})
    try:
        messages.send(client, {"owner": owner_process}, [gone_reader])
    except messages.ConnectionLostError:
        os.kill(owner_process, signal.SIGKILL)
    client.close()
    os.close(gone_reader)
    os.close(alive_writer)
    _wait_for(owner_process, alive_reader)


def _become_owner(lab: Lab) -> None:
    try:
        owner.run(lab)
    except BaseException as error:  # noqa: BLE001 - a fork's last stop; the report must not be lost
        messages.send(lab.client, messages.describe(error))
    finally:
        os._exit(1)


def _let_go_of_terminal() -> None:
    """Hold none of the client's files open: a lab outlives the pipe that `lab up` wrote into."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.close(null)


def _wait_for(owner_process: int, alive: int) -> None:
    """Return when the owner has ended; whoever asks the guard to end asks the owner.

    Args:
        alive: a pipe that the owner has the other end of.
    """
    for number in _ENDINGS:
        signal.signal(number, lambda *_: os.kill(owner_process, signal.SIGTERM))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDINGS)
    os.read(alive, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)

    apart = {entrants.of_children("self")} - {os.readlink("/proc/self/ns/pid")}  # noqa: PTH115 - as `of_children`

    def ended() -> bool:
        if os.waitpid(owner_process, os.WNOHANG) != (0, 0):
            return True
        entrants.wake(apart)
        return False

    wait_until(ended, timeout=math.inf, what="the owner to end")
