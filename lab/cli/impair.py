"""`lab impair`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from lab.cli.faults import attached
from lab.errors import UsageError
from lab.faults.places import interfaces
from lab.plan.impairments import from_settings
from lab.plan.model import impairment_text


def run(options: argparse.Namespace) -> int:
    """Impair one interface or all of a node's."""
    lab = attached(options.lab)
    found = settings(options.settings)
    mtus = {(node.name, one.name): one.mtu for node in lab.plan.nodes for one in node.interfaces}
    for node, interface in interfaces(lab.plan.wiring, options.target):
        out, incoming = from_settings(found, mtus[node, interface])
        lab.impair(node, interface, out, incoming)
        print(f"impair {node}:{interface} {impairment_text(out, incoming)}: done")
    return 0


def settings(words: Sequence[str]) -> dict[str, Any]:
    """Return KEY=VALUE and DIRECTION.KEY=VALUE words as a topology file has them.

    Raises:
        UsageError: a word that is neither.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            msg = f'found "{word}"; an impairment is written like delay=10ms, or out.delay=10ms for one direction'
            raise UsageError(msg)
        direction, dot, own = key.partition(".")
        settings_of_one = found.setdefault(direction, {}) if dot else found
        if not isinstance(settings_of_one, dict) or isinstance(found.get(key), dict):
            msg = (
                f'found "{word}" beside another "{direction}"; it is either a direction, like out.delay=10ms, or a key'
            )
            raise UsageError(msg)
        settings_of_one[own if dot else key] = _value(value)
    return found


def _value(text: str) -> str | float:
    """Return what YAML makes of it: 0.01 is a number there."""
    return float(text) if re.fullmatch(r"[0-9]*\.?[0-9]+", text) else text
