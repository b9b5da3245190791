"""A node that loses its power and gets it back: done from the lab's home namespaces, where the caller is left."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterable

from lab.backends.owned.built import Namespaces
from lab.backends.owned.wiring import bring_up
from lab.errors import BackendError
from lab.netlink import namespaces
from lab.netlink import power as network_power
from lab.netlink.namespaces import Clone
from lab.plan.model import PlannedNode

_END_SECONDS = 5.0
_KINDS = ("net", "mnt", "uts", "ipc")


def cut(node: Namespaces, home: Namespaces) -> None:
    """End all that runs in a node, and its part in the network, without a word to anybody.

    Its programs are stopped first, so that none of them lives to see, or to tell, what becomes of it.

    Raises:
        NotSupportedError: this kernel cannot; the node is as it was.
        BackendError: a program does not end.
    """
    stopped: dict[int, int] = {}
    try:
        try:
            _stop_all(node, stopped)
            with namespaces.entered(node.net, Clone.NET, home.net):
                network_power.take_down()
        except BaseException:
            _signal(stopped.values(), signal.SIGCONT)
            raise
        _await_end(_signal(stopped.values(), signal.SIGKILL))
    finally:
        for descriptor in stopped.values():
            os.close(descriptor)


def restore(planned: PlannedNode, node: Namespaces, home: Namespaces) -> None:
    """Bring the interfaces up, with the plan's addresses and routes; nothing else of before is back."""
    with node.configured(home):
        bring_up(planned, set())


def _stop_all(node: Namespaces, stopped: dict[int, int]) -> None:
    """Stop every process of the node, and enter its descriptor by process id; look again until none is new."""
    while new := [process for process in _members(node) if process not in stopped]:
        for process in new:
            with contextlib.suppress(ProcessLookupError):  # ended meanwhile
                stopped[process] = os.pidfd_open(process)
                _signal([stopped[process]], signal.SIGSTOP)


def _members(node: Namespaces) -> list[int]:
    """Return the programs that are in one of the node's namespaces at least: one may have left the others."""
    ours = {os.fstat(descriptor).st_ino for descriptor in (node.net, node.mount, node.uts, node.ipc)}
    entries = (entry for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208 - names only
    found = {int(entry) for entry in entries if not ours.isdisjoint(_namespaces(entry))}
    return sorted(found - node.keepers)


def _namespaces(process: str) -> set[int]:
    try:
        return {os.stat(f"/proc/{process}/ns/{kind}").st_ino for kind in _KINDS}  # noqa: PTH116 - for every process
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()  # ended meanwhile


def _signal(descriptors: Iterable[int], number: signal.Signals) -> list[int]:
    """Send a signal to these processes; return the descriptors of those that had not ended."""
    reached = []
    for descriptor in descriptors:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
            reached.append(descriptor)
    return reached


def _await_end(descriptors: list[int]) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    left = len(descriptors)
    while left:
        ended = poll.poll(_END_SECONDS * 1000)
        if not ended:
            msg = f"{left} programs do not end, although killed"
            raise BackendError(msg)
        for descriptor, _event in ended:
            poll.unregister(descriptor)
        left -= len(ended)
