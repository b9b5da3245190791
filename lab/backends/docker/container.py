"""A running container, as the owner of its lab holds it: by descriptors, which are its for as long as they are open."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.backends.docker import inside, seccomp
from lab.backends.owned.built import Namespaces
from lab.errors import BackendError, NotSupportedError
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone
from lab.wait import wait_until

_V1, _V2 = "cgroup", "cgroup2"  # types of file systems
_WAITS_WITHIN = 10.0  # seconds
_IN_CONTAINER = 1  # a process' number there is the second of those that it has


@dataclass(frozen=True, slots=True)
class Container(Namespaces):
    """The namespaces of a node that is a container.

    Attributes:
        name: the node's.
        numbering: its PID namespace, a descriptor.
        life: its process 1, a descriptor of pidfd_open(2).
        groups: its control groups, descriptors of files cgroup.procs.
        capabilities: what its programs may have, a bit for each.
        filters: of system calls, see `seccomp`; the descriptor of a file.
    """

    name: str = ""
    numbering: int = -1
    life: int = -1
    groups: tuple[int, ...] = ()
    capabilities: int = 0
    filters: int = -1

    def become_program(self) -> None:
        """Make the calling process, a child of the owner, one of the container's programs."""
        inside.join(self.groups)
        inside.give_up(self.capabilities)
        self.enter()

    def confine(self) -> None:
        """Let the calling process do no more than a program of the container may."""
        inside.confine(self.filters)

    @contextmanager
    def bearing(self) -> Iterator[None]:
        """Let the children that the calling process has in the block be born in the container.

        Raises:
            BackendError: the container has ended.
        """
        poll = select.poll()
        poll.register(self.life, select.POLLIN)
        if poll.poll(0):
            msg = f"{self.name}: its container has ended; was the Docker daemon stopped? lab down clears up"
            raise BackendError(msg)
        with inside.bearing(self.numbering):
            yield

    @contextmanager
    def configured(self, home: Namespaces) -> Iterator[None]:
        """Be, for the block, among the node's interfaces; the container's /proc/sys is read-only, so not in that."""
        with namespaces.entered(self.net, Clone.NET, home.net):
            yield

    def shown(self, process: int) -> int:
        """Return the number that a program, a process of the machine, has in the container.

        Raises:
            ProcessLookupError: it has none: it has but entered the node's network, as `nsenter --net` does.
        """
        numbers = _status(process)["NSpid"].split()
        if len(numbers) <= _IN_CONTAINER:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return int(numbers[_IN_CONTAINER])


def opened(node: str, container: str, process: int) -> Container:
    """Return the container whose process 1 this is.

    Raises:
        NotSupportedError: the daemon's processes are not those that can be seen from here.
    """
    try:
        groups = _groups(process)
    except FileNotFoundError:
        groups = {}
    if not any(container in path for path in groups.values()):
        msg = "the Docker daemon is on another machine, or in another PID namespace; labs must be up where it is"
        raise NotSupportedError(msg)
    kinds = ("net", "mnt", "uts", "ipc", "pid")
    net, mount, uts, ipc, numbering = (_open(f"/proc/{process}/ns/{kind}") for kind in kinds)
    children = Path(f"/proc/{process}/task/{process}/children")
    wait_until(lambda: bool(children.read_text()), timeout=_WAITS_WITHIN, what=f"the container of {node} to wait")
    return Container(
        net,
        mount,
        uts,
        ipc,
        keepers=frozenset({process, *map(int, children.read_text().split())}),
        name=node,
        numbering=numbering,
        life=os.pidfd_open(process),
        groups=tuple(_open(f"{root}{path}/cgroup.procs", os.O_WRONLY) for root, path in groups.items()),
        capabilities=int(_status(process)["CapBnd"], 16),
        filters=_file(seccomp.filters_of(process)),
    )


def _file(content: bytes) -> int:
    descriptor = os.memfd_create("filters", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    return descriptor


def _open(path: str, flags: int = os.O_RDONLY) -> int:
    return os.open(path, flags | os.O_CLOEXEC)


def _status(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _groups(process: int) -> dict[str, str]:
    """Return the control groups of a process: its path in each hierarchy, by where that is mounted."""
    mounted = dict(_hierarchies())
    found = {}
    for line in Path(f"/proc/{process}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        if controllers in mounted:
            found[mounted[controllers]] = path
    return found


def _hierarchies() -> Iterator[tuple[str, str]]:
    """Yield the controllers of each hierarchy, as /proc/PID/cgroup writes them, and where it is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4]
        kind, _source, options = line.partition(" - ")[2].split(maxsplit=2)
        if kind == _V2:
            yield "", place
        elif kind == _V1:
            named = [option for option in options.split(",") if option.startswith("name=")]
            yield (named[0] if named else Path(place).name), place
