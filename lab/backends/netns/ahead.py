"""Makes the namespaces of a lab's nodes, in a process of its own, ahead of the one that fills and connects them.

The kernel takes about as long to make a node's namespaces as for all the rest that is done in them, and it can do both
at once. (Two threads would take turns at the interpreter's lock, some twenty times a node.)
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from lab.backends.owned import messages
from lab.backends.owned.built import Namespaces, current
from lab.errors import BackendError
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone

OWN = Clone.NET | Clone.MOUNT | Clone.UTS | Clone.IPC
_AHEAD_BYTES = 16 * 1024  # of the socket's buffer: some twenty nodes, whose descriptors are in nobody's table meanwhile


@contextmanager
def made_ahead(names: Sequence[str], home: Namespaces) -> Iterator[Iterator[Namespaces]]:
    """Give, for the block, an iterator of the namespaces of a node of each name, copies of the home ones.

    The calling process is in the home namespaces and has one thread. The iterator raises BackendError if the kernel
    refuses a node.
    """
    ours, theirs = messages.pair()
    process = os.fork()
    if process == 0:
        ours.close()
        _become_maker(names, home, theirs)
    theirs.close()
    try:
        yield _taken(ours)
    finally:
        ours.close()  # which ends the process, if it has not made all
        os.waitpid(process, 0)


def _become_maker(names: Sequence[str], home: Namespaces, channel: socket.socket) -> NoReturn:
    try:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _AHEAD_BYTES)
        _make(names, home, channel)
    except messages.ConnectionLostError:
        pass  # no more are wanted
    except OSError as error:
        messages.send(channel, messages.describe(BackendError(error.strerror or str(error))))
    except BaseException as error:  # noqa: BLE001 - a fork's last stop; the report must not be lost
        messages.send(channel, messages.describe(error))
    finally:
        os._exit(0)


def _make(names: Sequence[str], home: Namespaces, channel: socket.socket) -> None:
    with namespaces.own_folder() as folder:
        for name in names:
            namespaces.unshare(OWN)
            socket.sethostname(name)
            made = current(folder)
            descriptors = (made.net, made.mount, made.uts, made.ipc)
            messages.send(channel, {}, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            home.enter()


def _taken(channel: socket.socket) -> Iterator[Namespaces]:
    while True:
        try:
            message = messages.receive(channel)
        except messages.ConnectionLostError:
            msg = "the process that makes namespaces was killed"
            raise BackendError(msg) from None
        net, mount, uts, ipc = messages.check(message).descriptors
        yield Namespaces(net, mount, uts, ipc)
