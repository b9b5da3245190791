"""The one module that starts processes: argument lists, never a shell's string."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.errors import LabError, MissingToolError

# The Debian package of each tool that labs may call; an unknown one is named as it is.
_PACKAGES = {
    "ethtool": "ethtool",
    "gdb": "gdb",
    "ifstat": "ifstat",
    "ip": "iproute2",
    "mpstat": "sysstat",
    "netstat": "net-tools",
    "newgidmap": "uidmap",
    "newuidmap": "uidmap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "ping": "iputils-ping",
    "ss": "iproute2",
    "ssh-keygen": "openssh-client",
    "strace": "strace",
    "tcpdump": "tcpdump",
    "traceroute": "traceroute",
    "tshark": "tshark",
    "vmstat": "procps",
}


def search_path() -> str:
    """Return where programs are looked for: where the user has them, and where root's are."""
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def find_tool(name: str) -> str:
    """Return the path of a program of this machine's.

    Raises:
        MissingToolError: it is nowhere; names the package and the command that installs it.
    """
    found = shutil.which(name, path=search_path())
    if not found:
        msg = f"{name} is not installed; install it: apt-get install {_PACKAGES.get(name, name)}"
        raise MissingToolError(msg)
    return found


def start(
    arguments: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    environment: Mapping[str, str] | None = None,
    keep_open: Sequence[int] = (),
    before_exec: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own and return at once.

    Args:
        stdin: a descriptor; the same for stdout and stderr, where None means the caller's own.
        keep_open: descriptors that the program inherits; every other is closed.
        before_exec: runs in the child; the caller must have one thread.

    Raises:
        OSError: the program cannot be executed.
        subprocess.SubprocessError: `before_exec` failed.
    """
    return subprocess.Popen(
        list(arguments),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=None if environment is None else dict(environment),
        pass_fds=keep_open,
        preexec_fn=before_exec,  # noqa: PLW1509 - callers of it have one thread
        start_new_session=True,
    )


def output_of(arguments: Sequence[str], *, timeout: float = 30.0, cwd: Path | None = None) -> str:
    """Run a tool of this machine to its end and return what it printed.

    Args:
        timeout: seconds.

    Raises:
        MissingToolError: there is no such tool.
        LabError: it failed or took too long; carries the last line it wrote.
    """
    program = find_tool(arguments[0])
    try:
        done = subprocess.run(
            [program, *arguments[1:]], capture_output=True, text=True, check=False, timeout=timeout, cwd=cwd
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{arguments[0]} was still running after {timeout:g} s"
        raise LabError(msg) from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        msg = f"{arguments[0]}: {last}"
        raise LabError(msg)
    return done.stdout


def run_in_terminal(arguments: Sequence[str], *, cwd: Path) -> None:
    """Run a tool of this machine to its end; what it says goes where the caller's own output goes.

    Raises:
        MissingToolError: there is no such tool.
        LabError: it failed.
    """
    done = subprocess.run([find_tool(arguments[0]), *arguments[1:]], check=False, cwd=cwd)
    if done.returncode:
        msg = f"{' '.join(arguments)}: exit code {done.returncode}"
        raise LabError(msg)
