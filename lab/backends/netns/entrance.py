"""The script that runs a program in a node: one small file per lab, which needs no Python and so no time.

It is `nsenter` with the right words. Programs that it starts belong to the lab's PID namespace, so they end
with the lab, and to the caller's session, so terminal, signals and exit code are theirs.

Only a child of whoever enters a PID namespace is in it, so a shell stays outside and waits. It does not end of
a Ctrl-C that the program may live through; when it is ended otherwise, the program is (PR_SET_PDEATHSIG).

The environment is the caller's: variables of the script have names that nobody else gives to any, and those of the
node come last, so that its PATH, say, is not where the script's own tools are looked for.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lab.plan.model import Plan

if TYPE_CHECKING:
    from lab.backends.owned.built import Namespaces  # brings all that building takes, and most commands build nothing

# Where a node has folders of its own; what lies in the machine's is seen only if it is shared.
PRIVATE_ROOTS = ("/tmp/", "/run/", "/dev/shm/")  # noqa: S108 - compared with, not written to

_SCRIPT = """\
#!/bin/sh
# Runs a program in a node of lab {name}: enter NODE PROGRAM [ARGUMENT...]
_lab_node=$1
shift
case $_lab_node in
{nodes}
*) printf 'lab: no node named "%s"; lab {name} has {names}\\n' "$_lab_node" >&2; exit 2 ;;
esac
case $PWD/ in
{shared}/tmp/*|/run/*|/dev/shm/*)
    printf 'lab: %s does not see %s (it has a folder of its own there); starting in /\\n' "$_lab_node" "$PWD" >&2
    cd / ;;
esac
_lab_own=/proc/{owner}/fd
if ! [ -e $_lab_own/$_lab_net ]; then
    echo 'lab: lab {name} has just gone down' >&2
    exit 1
fi
for _lab_tool in nsenter setpriv; do
    if ! command -v $_lab_tool >/dev/null; then
        echo "lab: $_lab_tool is not installed; install it: apt-get install util-linux" >&2
        exit 3
    fi
done
exec nsenter {user}--net=$_lab_own/$_lab_net --mount=$_lab_own/$_lab_mount --uts=$_lab_own/$_lab_uts \\
    --ipc=$_lab_own/$_lab_ipc --pid=/proc/{owner}/ns/pid --no-fork -- sh -c '{waiter}' lab "$PWD" "$@"
"""

_WAITER = """
    trap : INT QUIT
    cd "$1" || exit 126
    shift
    '"$_lab_setpriv"' --pdeathsig TERM -- "$@"
    code=$?
    if [ $code = 130 ]; then trap - INT; kill -INT $$; fi
    exit $code
"""


def script(plan: Plan, nodes: Mapping[str, Namespaces], shared: tuple[str, ...], owner: int, *, rootless: bool) -> str:
    """Return the script's text.

    Args:
        owner: its process id on the machine; the script reaches the namespaces through its descriptors.
    """
    return _SCRIPT.format(
        name=plan.name,
        names=", ".join(nodes),
        nodes="\n".join(_case(node.name, nodes[node.name], dict(node.environment)) for node in plan.nodes),
        shared="".join(f"{shlex.quote(folder)}/*) ;;\n" for folder in shared),
        owner=owner,
        waiter=_WAITER,
        user=f"--user=/proc/{owner}/ns/user --preserve-credentials " if rootless else "",
    )


def _case(name: str, node: Namespaces, environment: Mapping[str, str]) -> str:
    own = f"_lab_net={node.net} _lab_mount={node.mount} _lab_uts={node.uts} _lab_ipc={node.ipc}"
    return f"{name}) {own} _lab_setpriv={shlex.quote(_setpriv(environment))} ;;"


def _setpriv(environment: Mapping[str, str]) -> str:
    """Return the words that call setpriv with the node's variables set: by its path, as PATH may be one of them."""
    if not environment:
        return "setpriv"
    settings = shlex.join(f"{key}={value}" for key, value in environment.items())
    return f'env {settings} "$(command -v setpriv)"'
