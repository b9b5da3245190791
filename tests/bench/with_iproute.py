"""The peer that a shell script would be: `ip -batch`, one process for the switch and one for each host.

Run in network, mount and PID namespaces of its own: named namespaces are mounts on /run/netns.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bench.protocol import contend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _batch(lines: Iterable[str], *options: str) -> None:
    subprocess.run(["ip", *options, "-batch", "-"], input="\n".join(lines), text=True, check=True)


def _up(hosts: int) -> Callable[[], None]:
    numbers = range(1, hosts + 1)
    lines = [f"netns add h{number}" for number in numbers]
    lines += ["link add br0 type bridge", "link set br0 up"]
    for number in numbers:
        lines += [
            f"link add p{number} type veth peer name eth0 netns h{number}",
            f"link set p{number} master br0 up",
        ]
    _batch(lines)
    for number in numbers:
        address = f"10.0.{number >> 8}.{number & 255}/16"
        configure = ["link set lo up", "link set eth0 up", f"address add {address} dev eth0"]
        _batch([*configure, "route add default via 10.0.255.254"], "-netns", f"h{number}")
    return functools.partial(_down, hosts)


def _down(hosts: int) -> None:
    _batch(["link del br0", *(f"netns del h{number}" for number in range(1, hosts + 1))])


def main(hosts: int) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    contend(functools.partial(_up, hosts))


if __name__ == "__main__":
    main(int(sys.argv[1]))
