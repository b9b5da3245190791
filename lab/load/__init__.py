"""YAML file to Topology. Every error is one line: `file:line:column: key.path: found; allowed; remedy`."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import TopologyError
from lab.load import build, impairments, needs, networks, options, references, timeline, tree
from lab.load.options import Services
from lab.load.problem import first_of
from lab.spec.quoting import escape

if TYPE_CHECKING:
    from lab.spec.models import Topology

__all__ = ["load", "loads"]

_LARGEST = 1024 * 1024


def load(path: str | os.PathLike[str], kinds: Callable[[], Services] | None = None) -> Topology:
    """Read a topology file.

    Args:
        kinds: returns the kinds of service that there are, each with a model of its options; without it, neither
            is checked here.

    Raises:
        TopologyError: the file cannot be read, or is no topology.
    """
    source = str(path)
    return loads(_read(Path(path), escape(source, limit=200)), source, kinds)


def loads(text: str | bytes, source: str = "<string>", kinds: Callable[[], Services] | None = None) -> Topology:
    """Read a topology from text, or from bytes in UTF-8; messages call it `source`.

    Args:
        kinds: as in `load`.

    Raises:
        TopologyError: the first problem in the text's order, and how many more there are.
    """
    shown = escape(source, limit=200)
    if len(text) > _LARGEST:
        raise _too_large(shown)
    located = tree.parse(text, shown)
    topology, problems = build.topology(located.data)
    if topology is not None:
        problems = [*networks.problems(topology), *references.problems(topology), *impairments.problems(topology)]
        problems += [*timeline.problems(topology)]
        problems += [*needs.problems(topology), *(options.problems(topology, kinds) if kinds else ())]
    if topology is None or problems:
        raise first_of(problems, located, shown)
    return topology


def _read(path: Path, shown: str) -> bytes:
    """Return the file's bytes without waiting for a pipe, and without reading more than is allowed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                kind = "a directory" if path.is_dir() else "no regular file"
                raise TopologyError(f"{shown}: this is {kind}; give the path of a topology file")
            content = file.read(_LARGEST + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TopologyError(f"{shown}: cannot be read: {reason}; give the path of a topology file") from error
    except ValueError as error:  # a zero byte in the path
        raise TopologyError(f"{shown}: cannot be read: {error}; give the path of a topology file") from error
    if len(content) > _LARGEST:
        raise _too_large(shown)
    return content


def _too_large(shown: str) -> TopologyError:
    return TopologyError(f"{shown}: larger than 1 MiB; a topology file is small, so is this the right file?")
