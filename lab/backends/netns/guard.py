"""Stands beside a lab's owner, outside of its namespaces, and clears its folder away when it is gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from typing import Any

from lab.backends.netns import messages, owner, registry
from lab.errors import LabError, NotSupportedError
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone
from lab.plan.model import Plan

_ENDINGS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def run(message: messages.Message) -> None:
    """Make the lab that the message asks for, and return when all of it is gone.

    The message's descriptors are the client's channel and a file with the plan as JSON.
    """
    channel_descriptor, plan_descriptor = message.descriptors
    client = socket.socket(fileno=channel_descriptor)
    os.setsid()
    _let_go_of_terminal()
    try:
        with open(plan_descriptor, encoding="utf-8") as file:  # noqa: PTH123 - by descriptor
            plan = Plan.from_data(json.load(file))
        entry = registry.create(plan, message.body["source"])
    except LabError as error:
        messages.send(client, messages.describe(error))
        return
    try:
        _guard(plan, entry, client, message.body)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client must hear of it
        messages.send(client, messages.describe(error))
    finally:
        registry.remove(entry)


def _guard(plan: Plan, entry: registry.Entry, client: socket.socket, options: dict[str, Any]) -> None:
    rootless = _enter_pid_namespace()
    gone_reader, gone_writer = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS | {signal.SIGCHLD})
    owner_process = os.fork()
    if owner_process == 0:
        os.close(gone_writer)
        _become_owner(owner.Lab(plan, entry, client, gone_reader, rootless, options))
    facts = {"owner": owner_process, "guard": os.getpid(), "since": time.time(), "rootless": rootless}
    registry.write_owner(entry, {"name": plan.name, "source": options["source"], **facts})
    try:
        messages.send(client, {"owner": owner_process}, [gone_reader])
    except messages.ConnectionLostError:
        os.kill(owner_process, signal.SIGKILL)
    client.close()
    os.close(gone_reader)
    _wait_for(owner_process)


def _enter_pid_namespace() -> bool:
    """Make the next child process 1 of a new PID namespace; say whether that took a user namespace.

    Raises:
        NotSupportedError: this user may not; says what would allow it.
    """
    try:
        namespaces.unshare(Clone.PID)
    except PermissionError:
        try:
            namespaces.become_root_of_user_namespace()
            namespaces.unshare(Clone.PID)
        except OSError as error:
            msg = f"this user may not make namespaces ({error.strerror}); `lab doctor` says what would allow it"
            raise NotSupportedError(msg) from error
        return True
    return False


def _become_owner(lab: owner.Lab) -> None:
    try:
        lab.run()
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


def _wait_for(owner_process: int) -> None:
    """Return when the owner has ended; whoever asks the guard to end asks the owner."""
    while True:
        if signal.sigwait(_ENDINGS | {signal.SIGCHLD}) != signal.SIGCHLD:
            os.kill(owner_process, signal.SIGTERM)
        if os.waitpid(owner_process, os.WNOHANG) != (0, 0):
            return
