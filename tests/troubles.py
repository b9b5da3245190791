"""Labs in trouble, as whoever runs this: `python -P -m tests.troubles CASE`, which prints JSON.

Cases: `faults` (each call to the kernel refused in turn), `refusals` (plans that the kernel refuses), `files` and
`bytes` (the folder of labs lies on a small disk, which is full but for so many of them), `crowd` (many labs at
once), `settings` (the sysctls of nodes on this host and on an odd one).
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

from lab import command
from lab.backends.netns.client import NetnsBackend
from lab.backends.owned import messages, registry
from lab.errors import LabError
from lab.load import load
from lab.plan.model import Plan, PlannedInterface, PlannedNode, PlannedRoute
from lab.plan.planner import plan
from lab.running import Lab
from tests.faulty_nursery import FAULTY, ODD
from tests.machine import differences, snapshot
from tests.rounds import left, marked, redirect
from tests.users import PROJECT

_CROWD = 40
_READ_SETTINGS = "import json, sys; from tests.machine import sysctls; json.dump(list(sysctls().items()), sys.stdout, default=bytes.decode)"  # noqa: E501 - one argument


def faulty_backend() -> NetnsBackend:
    """Return a backend whose nursery is tests/faulty_nursery.py."""
    backend = NetnsBackend()
    ours, theirs = messages.pair()
    with theirs:
        arguments = [sys.executable, "-P", "-m", "tests.faulty_nursery", str(theirs.fileno())]
        backend._nursery = command.start(arguments, keep_open=[theirs.fileno()]), ours
    return backend


def faults() -> list[dict[str, Any]]:
    backend = faulty_backend()
    outcomes: list[dict[str, Any]] = []
    while not outcomes or outcomes[-1]["error"]:  # a lab that came up made fewer calls than that
        whole = redirect(f"{FAULTY}{len(outcomes) + 1}")
        outcomes.append(_attempt(backend, replace(whole, nodes=whole.nodes[:2])))  # a host and a router
    backend.close()
    return outcomes


def refusals() -> list[dict[str, Any]]:
    good = redirect("refused")
    host = good.nodes[0]
    interface = host.interfaces[0]
    other = PlannedRoute("192.0.2.0/24", "198.51.100.1", "eth0", "declared")
    changed: dict[str, PlannedNode] = {
        "a multicast MAC": _with_interface(host, replace(interface, mac="01:00:5e:00:00:01")),
        "an MTU beyond Ethernet's": _with_interface(host, replace(interface, mtu=100_000)),
        "an address twice": _with_interface(host, replace(interface, addresses=interface.addresses * 2)),
        "a gateway out of reach": replace(host, routes=(other,)),
        "a route twice": replace(host, routes=host.routes * 2),
        "a sysctl's value": replace(host, sysctls=(("net.ipv4.ip_default_ttl", "many"),)),
        "a sysctl's name": replace(host, sysctls=(("net.ipv4.no_such_thing", "1"),)),
    }
    backend = NetnsBackend()
    backend.prepare()
    plans = {what: replace(good, nodes=(node, *good.nodes[1:])) for what, node in changed.items()}
    outcomes = [{"what": what, **_attempt(backend, refused)} for what, refused in plans.items()]
    backend.close()
    return outcomes


def full_of_files() -> list[dict[str, Any]]:
    return _on_full_disk(b"")


def full_of_bytes() -> list[dict[str, Any]]:
    return _on_full_disk(b"x" * os.sysconf("SC_PAGE_SIZE"))


def _on_full_disk(filler: bytes) -> list[dict[str, Any]]:
    """Fill the disk, then give back one file's room after the other until a lab comes up."""
    disk = registry.root().parent
    backend = NetnsBackend()
    backend.prepare()
    fillers: list[Path] = []
    try:
        while True:
            fillers.append(disk / f"filler-{len(fillers)}")
            fillers[-1].write_bytes(filler)
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017 - no test, but what a test runs
    outcomes: list[dict[str, Any]] = []
    while not outcomes or outcomes[-1]["error"]:
        outcomes.append(_attempt(backend, redirect("cramped")))
        fillers.pop().unlink(missing_ok=True)
    for path in fillers:
        path.unlink()
    backend.close()
    return outcomes


def crowd() -> list[dict[str, Any]]:
    backend = NetnsBackend()
    backend.prepare()
    everybody = Barrier(_CROWD)

    def one(number: int) -> dict[str, Any]:
        with Lab.up(redirect(f"crowd-{number}"), backend) as lab:
            everybody.wait()
            seen = {"up": len(registry.names()), "received": lab["host"].ping("10.9.0.9", timeout=10).received}
            everybody.wait()
            return seen

    with ThreadPoolExecutor(_CROWD) as pool:
        outcomes = list(pool.map(one, range(_CROWD)))
    backend.close()
    return outcomes


def settings() -> list[dict[str, Any]]:
    dual_stack = plan(load(PROJECT / "topologies" / "dual-stack.yaml"))
    plans = [redirect(ODD), replace(dual_stack, name=ODD)]
    found: list[dict[str, Any]] = []
    for make, name in ((NetnsBackend, "this-host"), (faulty_backend, ODD)):
        backend = make()
        for planned in plans:
            with Lab.up(replace(planned, name=name), backend, shared=[PROJECT, Path(sys.prefix)]) as lab:
                for node in lab:
                    done = node.run(sys.executable, "-P", "-c", _READ_SETTINGS).check()
                    found.append(
                        {
                            "host": name,
                            "node": node.name,
                            "kind": node.plan.kind,
                            "ipv6": node.plan.ipv6,
                            "interfaces": [one.name for one in node.plan.interfaces],
                            "sysctls": dict(json.loads(done.stdout)),
                        }
                    )
        backend.close()
    return found


def _attempt(backend: NetnsBackend, planned: Plan) -> dict[str, Any]:
    keep = set(marked())
    kind = error = ""
    try:
        backend.up(planned).down()
    except LabError as raised:
        kind, error = type(raised).__name__, str(raised)
    return {"kind": kind, "error": error, "left": left(set(), 0, keep)}


def _with_interface(node: PlannedNode, interface: PlannedInterface) -> PlannedNode:
    return replace(node, interfaces=(interface, *node.interfaces[1:]))


_CASES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "faults": faults,
    "refusals": refusals,
    "files": full_of_files,
    "bytes": full_of_bytes,
    "crowd": crowd,
    "settings": settings,
}

if __name__ == "__main__":
    before = snapshot()
    keep = set(marked())
    report = {"found": _CASES[sys.argv[1]](), "left": left(set(), 0, keep)}
    json.dump({**report, "machine": differences(before, snapshot())}, sys.stdout)
