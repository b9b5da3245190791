"""Trials of what the machine grants this user: descriptors, folders, control groups, user ids, Docker."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from pathlib import Path

from lab.backends.owned import messages, registry
from lab.doctor.trial import Refusal, Trial
from lab.errors import BackendError

_PER_NODE = 4  # descriptors that the owner of a lab holds for each node
_OTHERS = 64  # and for everything else
_MOST_NODES, _FEWEST_NODES = 1000, 50  # as many as are tried; fewer than that would hardly be a limit anyone chose
_DOCKER_SECONDS = 2.0
_DOCKER_SOCKET = "/var/run/docker.sock"
_CONTROLLERS = ("pids", "memory")


def trials() -> list[Trial]:
    """Return the trials."""
    limit = _OTHERS + _PER_NODE * _MOST_NODES
    required = [
        ("descriptors", _descriptors, f"ulimit -Hn {limit}, as root, in the shell that starts labs"),
        ("Unix packets", _seqpacket, "boot a kernel that has CONFIG_UNIX"),
        ("state folder", _state_folder, "set XDG_RUNTIME_DIR to a folder of your own"),
    ]
    optional = [
        ("control groups", _control_groups, "run inside: systemd-run --user --scope -p Delegate=yes bash"),
        ("Docker", _docker, "systemctl start docker"),
    ]
    return [
        *(Trial(name, "machine", run, remedy, required=True) for name, run, remedy in required),
        *(Trial(name, "machine", run, remedy, required=False) for name, run, remedy in optional),
    ]


def _descriptors() -> str:
    """Hold as many as a lab of a thousand nodes does, or as many as there may be."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held: list[int] = []
    try:
        while len(held) < _OTHERS + _PER_NODE * _MOST_NODES:
            held.append(os.dup(0))
    except OSError:
        nodes = max(0, len(held) - _OTHERS) // _PER_NODE
    else:
        nodes = (hard - _OTHERS) // _PER_NODE
    finally:
        for descriptor in held:
            os.close(descriptor)
    seen = f"{len(held)} were opened, {hard} may be: enough for {nodes} nodes"
    if nodes < _FEWEST_NODES:
        raise Refusal(seen, "")
    return seen


def _seqpacket() -> str:
    ours, theirs = messages.pair()
    messages.send(ours, {"trial": True}, [0])
    message = messages.receive(theirs)
    if len(message.descriptors) != 1:
        raise Refusal("the descriptor that was sent along did not arrive", "")
    return "they carry descriptors"


def _state_folder() -> str:
    """Keep a lab's state and be found by it, as a lab without nodes."""
    name = f"doctor-{os.getpid()}"
    try:
        entry = registry.create(name, "", "")
    except BackendError as error:
        detail, _, remedy = str(error).partition("; ")
        raise Refusal(detail, remedy) from error
    try:
        with registry.listen(entry), registry.connect(name):
            return str(registry.root())
    finally:
        registry.remove(entry)


def _control_groups() -> str:
    """Make a group below this process' own, in whatever hierarchy lets it."""
    refusals = []
    for folder in _own_groups():
        try:
            Path(tempfile.mkdtemp(prefix="lab-doctor-", dir=folder)).rmdir()
        except OSError as error:
            refusals.append(f"{folder}: {error.strerror}")
        else:
            return f"a group can be made in {folder}"
    if refusals:
        raise Refusal(refusals[0], "")
    raise Refusal("no control groups are mounted", "mount -t cgroup2 none /sys/fs/cgroup")


def _own_groups() -> list[Path]:
    """Return the folders of this process' groups: of version 2, then of the controllers of version 1.

    A line of /proc/self/cgroup is "0::/path" in version 2, "4:pids:/path" in version 1 (cgroups(7)).
    """
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    mounted = {name: Path(where) for where, name in _mounted_hierarchies()}
    wanted = [("", "cgroup2"), *((name, name) for name in _CONTROLLERS)]
    return [
        mounted[hierarchy] / path.lstrip("/")
        for controller, hierarchy in wanted
        for _number, controllers, path in lines
        if controller in controllers.split(",") and hierarchy in mounted
    ]


def _mounted_hierarchies() -> list[tuple[str, str]]:
    """Return (mount point, hierarchy) of each: "cgroup2", or a controller's name in version 1."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _source, where, kind, options, *_ = line.split(" ")
        if kind == "cgroup2":
            found.append((where, kind))
        elif kind == "cgroup":
            found.extend((where, name) for name in _CONTROLLERS if name in options.split(","))
    return found


def _docker() -> str:
    """Ask the daemon whether it is there (GET /_ping, Docker Engine API)."""
    host = os.environ.get("DOCKER_HOST") or f"unix://{_DOCKER_SOCKET}"
    scheme, _, path = host.partition("://")
    if scheme != "unix":
        raise Refusal(f"DOCKER_HOST is {host}", f"DOCKER_HOST=unix://{_DOCKER_SOCKET}, a daemon on this machine")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.settimeout(_DOCKER_SECONDS)
        try:
            daemon.connect(path)
        except OSError as error:
            raise Refusal(f"{path}: {error.strerror or error}", _docker_remedy(error)) from error
        daemon.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        status = daemon.makefile("rb").readline(1000).decode(errors="replace").strip()
    if " 200 " not in f"{status} ":
        raise Refusal(f"{path}: {status or 'no answer'}", "systemctl restart docker")
    return f"a daemon answers on {path}"


def _docker_remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "usermod -aG docker USER, as root, then log in again"
    if isinstance(error, FileNotFoundError):
        return "apt-get install docker.io, or systemctl start docker if it is installed"
    return "systemctl start docker"
