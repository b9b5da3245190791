"""The script that runs a program in a node: one small file per lab, which needs no Python and so no time.

It is `nsenter` with the right words. Programs that it starts belong to the lab's PID namespace, so they end
with the lab, and to the caller's session, so terminal, signals and exit code are theirs.

Only a child of whoever enters a PID namespace is in it, so a shell stays outside and waits. It does not end of
a Ctrl-C that the program may live through; when it is ended otherwise, the program is (PR_SET_PDEATHSIG).
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
node=$1
shift
case $node in
{nodes}
*) printf 'lab: no node named "%s"; lab {name} has {names}\\n' "$node" >&2; exit 2 ;;
esac
case $PWD/ in
{shared}/tmp/*|/run/*|/dev/shm/*)
    printf 'lab: %s does not see %s (it has a folder of its own there); starting in /\\n' "$node" "$PWD" >&2
    cd / ;;
esac
own=/proc/{owner}/fd
if ! [ -e $own/$net ]; then
    echo 'lab: lab {name} has just gone down' >&2
    exit 1
fi
for tool in nsenter setpriv; do
    if ! command -v $tool >/dev/null; then
        echo "lab: $tool is not installed; install it: apt-get install util-linux" >&2
        exit 3
    fi
done
exec nsenter {user}--net=$own/$net --mount=$own/$mount --uts=$own/$uts --ipc=$own/$ipc \\
    --pid=/proc/{owner}/ns/pid --no-fork -- sh -c '{waiter}' lab "$PWD" "$@"
"""

_WAITER = """
    trap : INT QUIT
    cd "$1" || exit 126
    shift
    setpriv --pdeathsig TERM -- "$@"
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
    settings = f"net={node.net} mount={node.mount} uts={node.uts} ipc={node.ipc}"
    exports = "".join(f"; export {key}={shlex.quote(value)}" for key, value in environment.items())
    return f"{name}) {settings}{exports} ;;"
