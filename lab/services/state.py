"""How a service is, in words."""

from __future__ import annotations

import signal

from lab.backends.base import ServiceStatus


def state(service: ServiceStatus) -> str:
    """Return "running", "stopped", or how it ended although nobody had asked it to."""
    if service.exit_code is None:
        return "running"
    return "stopped" if service.stopped else ending(service.exit_code)


def ending(exit_code: int) -> str:
    """Return how a program ended."""
    return f"ended by {_name(-exit_code)}" if exit_code < 0 else f"ended with exit code {exit_code}"


def _name(number: int) -> str:
    """Return the name of a signal; most real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
