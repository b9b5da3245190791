"""The exception tree. Every error that a person can cause is one line: where, what, allowed, what to do.

The command line prints the line and leaves with `exit_code`; a traceback only with `--debug`.
"""

from __future__ import annotations


class LabError(Exception):
    """Anything this project raises on purpose. `str(error)` is the one line a person reads."""

    exit_code = 1


class TopologyError(LabError):
    """A topology file that cannot be used; the message begins with `file:line:column`."""

    exit_code = 2


class UsageError(LabError):
    """A call that asks for what is not there: an unknown node, interface, lab or option."""

    exit_code = 2


class MissingToolError(LabError):
    """A program that is not installed; the message names the package that has it."""

    exit_code = 3


class NotSupportedError(LabError):
    """A kernel feature or permission that this machine does not have; the message says what would mend it."""

    exit_code = 3


class LabExistsError(LabError):
    """A lab of that name is up already."""


class LabUnreadyError(LabError):
    """A lab that is only coming up, or is going down, and cannot do what is asked of it."""


class BackendError(LabError):
    """The lab could not be built, or was lost while it ran."""


class ImageError(LabError):
    """A container image that cannot be had, built or removed; of a build the message carries the end of its log."""


class WaitTimeoutError(LabError):
    """What was waited for did not happen in time; the message says what was seen instead."""


class CommandError(LabError):
    """A program ended with another exit code than 0; the message carries the end of what it wrote."""


class ProbeError(LabError):
    """A probe could not be sent: no route, no address, an interface that is down."""
