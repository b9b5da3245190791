"""Makes the namespaces of a lab's nodes, on a thread of its own, ahead of the one that fills them.

The kernel takes about as long to make a node's namespaces as for all the rest that is done in them, and it can do both
at once.
"""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from lab.backends.owned.built import Namespaces, current
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone

OWN = Clone.NET | Clone.MOUNT | Clone.UTS | Clone.IPC
_DESCRIPTORS = 5  # a node's, with one to spare for all else that is open


@contextmanager
def made_ahead(names: Sequence[str], home: Namespaces) -> Iterator[Iterator[Namespaces]]:
    """Give, for the block, an iterator of the namespaces of a node of each name, copies of the home ones.

    The calling thread is in the home namespaces. Until it has the first node it must not enter any: both threads have
    one view of the file system until then. The iterator raises OSError if the kernel refuses a node.
    """
    _make_room(home.net, _DESCRIPTORS * (len(names) + 10))
    made: SimpleQueue[Namespaces | Exception] = SimpleQueue()
    unwanted = threading.Event()
    thread = threading.Thread(target=_make, args=(names, home, made, unwanted))
    thread.start()
    try:
        yield _taken(made)
    finally:
        unwanted.set()
        thread.join()


def _make(
    names: Sequence[str], home: Namespaces, made: SimpleQueue[Namespaces | Exception], unwanted: threading.Event
) -> None:
    try:
        with namespaces.own_folder() as folder:
            for index, name in enumerate(names):
                if unwanted.is_set():
                    break
                if index > 0:  # the first time it is there, and may not move before it has a view of its own
                    home.enter()
                namespaces.unshare(OWN)
                socket.sethostname(name)
                made.put(current(folder))
    except Exception as error:  # noqa: BLE001 - it is raised where the node is waited for
        made.put(error)


def _taken(made: SimpleQueue[Namespaces | Exception]) -> Iterator[Namespaces]:
    while True:
        one = made.get()
        if isinstance(one, Exception):
            raise one
        yield one


def _make_room(any_descriptor: int, count: int) -> None:
    """Let the kernel make the table of open files large enough now.

    While two threads share it, it waits each time for all processors to have let go of the old one, for milliseconds.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    os.close(fcntl.fcntl(any_descriptor, fcntl.F_DUPFD_CLOEXEC, min(count, most - 1)))
