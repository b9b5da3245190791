"""Sabotage for scenarios: each must fail when what it claims is made untrue, or it proves nothing.

    @pytest.mark.mutant("current sends no redirects", sysctl("current", "net.ipv4.conf.*.send_redirects", 0))

`pytest --mutants` runs every scenario against each of its mutants and expects it to fail.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from lab.errors import UsageError
from lab.running import Lab


class Closeable(Protocol):
    """Something to be closed when the test is over, as a socket that is in the scenario's way."""

    def close(self) -> object:
        """End it."""


Sabotage = Callable[[Lab], Closeable | None]


def sysctl(node: str, key: str, value: str | int) -> Sabotage:
    """Return what sets a sysctl of a node; `*` in the key stands for "all" and each of its interfaces."""

    def set_it(lab: Lab) -> None:
        scopes = ["all", *(interface.name for interface in lab[node].plan.interfaces)] if "*" in key else [""]
        for scope in scopes:
            lab[node].sysctl(key.replace("*", scope), value)

    return set_it


def command(node: str, *arguments: str) -> Sabotage:
    """Return what runs a program in a node."""

    def run_it(lab: Lab) -> None:
        lab[node].run(*arguments).check()

    return run_it


def drop(node: str, hook: str, rule: str) -> Sabotage:
    """Return what lets a node lose packets of its own.

    Args:
        hook: of nftables: "prerouting", "input", "forward" or "output".
        rule: which packets, in nftables' language: "icmp type destination-unreachable".
    """
    chain = f"add chain inet sabotage {hook} {{ type filter hook {hook} priority -500; }}"
    return command(node, "nft", f"add table inet sabotage; {chain}; add rule inet sabotage {hook} {rule} drop")


def sockets(node: str, change: Callable[[socket.socket], socket.socket]) -> Sabotage:
    """Return what does something to every socket that is made in a node from then on: `change` returns what to use."""

    def replace(lab: Lab) -> None:
        make = lab[node].socket
        lab[node].socket = lambda *kind: change(make(*kind))  # type: ignore[method-assign]

    return replace


def reconfigured(node: str, service: str, old: str, new: str) -> Sabotage:
    """Return what replaces a text in a service's configuration and starts it again."""

    def reconfigure(lab: Lab) -> None:
        running = lab[node].services[service]
        changed = {path: text.replace(old, new) for path, text in running.program.files.items() if old in text}
        if not changed:
            msg = f'{node}/{service}: "{old}" is nowhere in its configuration'
            raise UsageError(msg)
        lab.backend.write(node, changed)
        running.restart()

    return reconfigure


def faulty(program: str, fault: str) -> Sabotage:
    """Return what lets one of the project's programs have a fault of `servers/mutants/mutants.cmake`."""

    def replace(lab: Lab) -> None:
        lab.faulty[program] = fault

    return replace
