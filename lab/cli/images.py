"""`lab images`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from lab.cli.table import table
from lab.cli.up import Progress
from lab.images import base as bases
from lab.images import build, store
from lab.images.daemon import connect
from lab.images.table import named, names

if TYPE_CHECKING:
    from docker import DockerClient


def run(options: argparse.Namespace) -> int:
    """Build, list or remove images."""
    actions: Mapping[str, Callable[[DockerClient, argparse.Namespace], None]] = {"build": _build, "ls": _ls, "rm": _rm}
    with closing(connect()) as client:
        actions[options.action](client, options)
    return 0


def _build(client: DockerClient, options: argparse.Namespace) -> None:
    images = [named(name) for name in options.names or names()]  # all are looked for before any is built
    with Progress() as progress:
        base = bases.find(client, bases.wanted(options.base), progress.show)
    print(f"base: {base.name}", flush=True)
    if base.note:
        print(f"note: {base.note}", file=sys.stderr)
    for image in images:
        there = {one.tag for one in store.stored(client)}
        started = time.monotonic()
        with Progress() as progress:
            tag = build.build(client, image, base, progress.show)
        how = "is there already" if tag in there else f"built in {time.monotonic() - started:.1f} s"
        print(tag, how, flush=True)


def _ls(client: DockerClient, options: argparse.Namespace) -> None:
    images = store.stored(client)
    if options.format == "json":
        print(json.dumps([asdict(image) for image in images], indent=2))
        return
    rows = [
        (one.name, _handle(one), f"{one.size / 1e6:.0f} MB", "yes" if one.current else "no", one.base) for one in images
    ]
    print(table(("NAME", "TAG", "SIZE", "CURRENT", "BASE"), rows))


def _rm(client: DockerClient, options: argparse.Namespace) -> None:
    for image in store.remove(client, options.names):
        print(f"removed {_handle(image)}")


def _handle(image: store.Stored) -> str:
    """Return what Docker's own commands know it by."""
    return image.tag or image.id.removeprefix("sha256:")[:12]
