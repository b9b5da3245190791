"""Runs a program in a container: `python -m lab.backends.docker.enter NODE OWNER DESCRIPTORS CAPABILITIES ...`.

The rest are the node's variables, NAME=VALUE, `--` and the program with its arguments. The variables are for the
program alone: one called PYTHONHOME, say, is not for the Python that runs this.

The program is in the caller's terminal and session, and its exit code is this one's. Only a child of whoever enters
a PID namespace is in it, so this process stays outside and waits. It does not end of a Ctrl-C that the program may
live through; when it is ended otherwise, the program is.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from lab.backends.docker import inside
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone

_KINDS = (Clone.NET, Clone.UTS, Clone.IPC, Clone.MOUNT)  # the last takes the machine's files out of sight
_NOT_FOUND, _CANNOT_RUN = 127, 126  # a shell's exit codes
_BY_SIGNAL = 128


def main() -> NoReturn:
    """Run the program and end as it does."""
    node, owner, descriptors, capabilities, *rest = sys.argv[1:]
    end = rest.index("--")
    settings, program = dict(one.split("=", 1) for one in rest[:end]), rest[end + 1 :]
    paths = [f"/proc/{owner}/fd/{one}" for one in descriptors.split(",")]
    *own, numbering, filters = [os.open(path, os.O_RDONLY) for path in paths[: len(_KINDS) + 2]]
    groups = [os.open(path, os.O_WRONLY) for path in paths[len(_KINDS) + 2 :]]
    with inside.bearing(numbering):
        child = os.fork()
        if child == 0:
            os.environ.update(settings)
            _become(node, own, groups, int(capabilities), filters, program)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)
    _process, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGINT:  # whoever called is to know that it was interrupted
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code if code >= 0 else _BY_SIGNAL - code)


def _become(
    node: str, own: list[int], groups: list[int], capabilities: int, filters: int, program: list[str]
) -> NoReturn:
    try:
        inside.end_with_parent(signal.SIGTERM)
        inside.join(groups)
        inside.give_up(capabilities)
        here = os.getcwd()  # noqa: PTH109 - imports as little as it can
        for descriptor, kind in zip(own, _KINDS, strict=True):
            namespaces.enter(descriptor, kind)
        _go(node, here)
        inside.confine(filters)
        os.execvp(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"lab: {node}: cannot run {program[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - its caller's
        sys.stderr.flush()
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN)


def _go(node: str, folder: str) -> None:
    """Enter the caller's folder, if it is shared."""
    try:
        os.chdir(folder)
    except OSError:
        print(f"lab: {node} does not see {folder}; starting in /", file=sys.stderr, flush=True)  # noqa: T201 - as above
        os.chdir("/")


if __name__ == "__main__":
    main()
