"""How a lab is ended from outside: by its owner if that answers, by its guard if not, and in the end by force."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

from lab.backends.owned import registry
from lab.backends.owned.asking import ask, closes
from lab.errors import BackendError, LabUnreadyError, UsageError, WaitTimeoutError
from lab.wait import wait_until

_MOST_TOLD = 4096  # bytes


def end(name: str, timeout: float) -> None:
    """End a lab, be it up or only coming up, and return when nothing of it is left.

    Args:
        timeout: seconds, after which its owner is killed, and its guard clears up.

    Raises:
        UsageError: there is no such lab.
        BackendError: something is left; says what.
    """
    facts = registry.owner_of(name)
    try:
        gone = _order(name, timeout)
    except TimeoutError:
        _kill_owner(facts)
    except LabUnreadyError:
        _signal(facts["guard"], signal.SIGTERM)  # which ends the owner first
    except BackendError:
        pass  # it has heard the order, or goes down by itself
    else:
        _follow(name, gone, facts, timeout)
        return
    _wait_for_end(facts, timeout)


def _order(name: str, timeout: float) -> int:
    """Tell a lab's owner to end; return the pipe that its guard tells the end on.

    Raises:
        TimeoutError: the owner does not answer.
        LabUnreadyError: it does not listen.
        BackendError: it has ended before it could answer.
    """
    with registry.connect(name) as connection:
        connection.settimeout(timeout)
        (gone,) = ask(connection, {"do": "down"}).descriptors
    return gone


def _follow(name: str, gone: int, facts: dict[str, Any], timeout: float) -> None:
    """Wait for the guard's pipe to close, which is the last thing that happens.

    Raises:
        BackendError: what the guard tells on it.
    """
    ended = closes(gone, timeout)
    if not ended:
        _kill_owner(facts)  # if it has not ended, and its guard has much to clear away
        ended = closes(gone, timeout)
    left = os.read(gone, _MOST_TOLD).decode() if ended else f"it is not gone after {2 * timeout:g} s"
    os.close(gone)
    if left:
        msg = f'lab "{name}": {left}'
        raise BackendError(msg)


def _wait_for_end(facts: dict[str, Any], timeout: float) -> None:
    """Wait for a lab's name to be free, or another lab's.

    Raises:
        BackendError: it is not.
    """
    name = facts["name"]

    def is_gone() -> bool:
        now = _now(name)
        return not now or now["guard"] != facts["guard"]

    for _attempt in range(2):
        with suppress(WaitTimeoutError):
            wait_until(is_gone, timeout=timeout, what="a lab to go")
            return
        _kill_owner(_now(name))
    msg = f'lab "{name}": it is not gone after {2 * timeout:g} s'
    raise BackendError(msg)


def _now(name: str) -> dict[str, Any]:
    """Return what is told of a lab now; nothing if there is none."""
    try:
        return registry.owner_of(name)
    except UsageError:
        return {}


def _kill_owner(facts: dict[str, Any]) -> None:
    _signal(facts.get("owner"), signal.SIGKILL)


def _signal(process: int | None, number: int) -> None:
    if process is not None:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(process, number)
