"""`lab logs`."""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import ExitStack
from typing import IO

from lab.backends.base import RunningLab
from lab.backends.owned.client import attach
from lab.cli.chosen import chosen_lab
from lab.services.service import Service, service_of, services_in
from lab.spec.quoting import harmless
from lab.wait import wait_until


def run(options: argparse.Namespace) -> int:
    """Print what services have written; with -f, what they write until Ctrl-C or the lab's end."""
    lab = attach(chosen_lab(options.lab))
    if options.service:
        chosen = [service_of(lab, options.node, options.service)]
    else:
        chosen = list(services_in(lab, options.node).values())
    with ExitStack() as stack:
        logs: dict[IO[bytes], str] = {
            stack.enter_context(service.log.open("rb")): _prefix(service, chosen)
            for service in chosen
            if service.log.exists()
        }
        _print_new(logs)
        if options.follow:
            wait_until(lambda: _follow(lab, logs), timeout=math.inf, what="the lab to end")
    return 0


def _prefix(service: Service, chosen: list[Service]) -> str:
    return f"{service.name} | " if chosen[1:] else ""


def _follow(lab: RunningLab, logs: dict[IO[bytes], str]) -> bool:
    """Print what is new, and say whether that was all."""
    ended = not lab.folder.exists()
    _print_new(logs)
    return ended


def _print_new(logs: dict[IO[bytes], str]) -> None:
    """Print what was added to each log; on a terminal, which it is not to steer, with controls escaped."""
    for file, prefix in logs.items():
        for line in file:
            text = line.decode(errors="replace")
            print(prefix + (harmless(text, keep="\t\n") if sys.stdout.isatty() else text), end="", flush=True)
