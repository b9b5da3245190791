"""The script that runs a program in a node of containers; `lab.backends.docker.enter` does it.

The environment is the caller's, so the script's own variables have names that nobody else gives to any.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping

from lab.backends.docker.container import Container
from lab.plan.model import Plan

_SCRIPT = """\
#!/bin/sh
# Runs a program in a node of lab {name}: enter NODE PROGRAM [ARGUMENT...]
_lab_node=$1
shift
case $_lab_node in
{nodes}
*) printf 'lab: no node named "%s"; lab {name} has {names}\\n' "$_lab_node" >&2; exit 2 ;;
esac
if ! [ -e /proc/{owner}/fd/${{_lab_where%%,*}} ]; then
    echo 'lab: lab {name} has just gone down' >&2
    exit 1
fi
exec {python} -P -m lab.backends.docker.enter $_lab_node {owner} $_lab_where $_lab_may "$@"
"""


def script(plan: Plan, containers: Mapping[str, Container], owner: int) -> str:
    """Return the script's text.

    Args:
        owner: its process id on the machine; the namespaces are reached through its descriptors.
    """
    return _SCRIPT.format(
        name=plan.name,
        names=", ".join(containers),
        nodes="\n".join(_case(node.name, containers[node.name], dict(node.environment)) for node in plan.nodes),
        owner=owner,
        python=shlex.quote(sys.executable),
    )


def _case(name: str, container: Container, environment: Mapping[str, str]) -> str:
    own = (container.net, container.uts, container.ipc, container.mount)
    where = ",".join(map(str, (*own, container.numbering, container.filters, *container.groups)))
    settings = shlex.join([*(f"{key}={value}" for key, value in environment.items()), "--"])
    return f'{name}) _lab_where={where} _lab_may={container.capabilities}; set -- {settings} "$@" ;;'
