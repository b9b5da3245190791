"""What a machine is like, before and after: the tests' witness that labs leave it alone.

As a pytest plugin it compares the machine before and after a whole session, which fails if there is a difference.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.command import output_of
from lab.errors import LabError

# What changes by itself on a machine where nobody does anything.
_RESTLESS = {
    "/proc/sys/net/netfilter/nf_conntrack_count": "connections that the machine itself has",
    "/proc/sys/net/ipv4/tcp_fastopen_key": "made at random when a program first asks for it",
}
_COUNTDOWNS = re.compile(r"\bexpires -?\d+sec|\b(?:\w+_)?timer +[\d.]+")
_BEFORE = pytest.StashKey[dict[str, str]]()
_AFTER = pytest.StashKey[str]()


def snapshot() -> dict[str, str]:
    """Return everything of this machine that labs must never change, by what it is.

    All of it belongs to the calling process' namespaces, so labs that other tests run meanwhile do not show.
    """
    tables = {
        "links": ["ip", "-d", "link"],
        "addresses": ["ip", "address"],
        "routes": ["ip", "route", "show", "table", "all"],
        "rules": ["ip", "rule"],
        "IPv6 rules": ["ip", "-6", "rule"],
    }
    if os.geteuid() == 0 and shutil.which("nft"):
        tables["nft"] = ["nft", "--stateless", "list", "ruleset"]
    found = {name: _COUNTDOWNS.sub("", _table(command)) for name, command in tables.items()}
    found["named namespaces"] = _listing("/run/netns") + _listing("/var/run/netns")
    found["sysctls"] = "".join(f"{path} {value!r}\n" for path, value in sysctls().items())
    found["mounts"] = Path("/proc/self/mountinfo").read_text()
    found["hostname"] = socket.gethostname()
    found["namespaces of its own"] = "".join(f"{path.readlink()}\n" for path in sorted(Path("/proc/self/ns").iterdir()))
    return found


def sysctls(root: str = "/proc/sys/net") -> dict[str, bytes | str]:
    """Return every network sysctl of the calling process by its path, byte for byte; the error of an unreadable one."""
    found: dict[str, bytes | str] = {}
    for folder, _folders, names in os.walk(root):
        for path in sorted(f"{folder}/{name}" for name in names):
            if path not in _RESTLESS:
                try:
                    found[path] = Path(path).read_bytes()
                except OSError as error:
                    found[path] = error.strerror or repr(error)
    return found


def differences(before: dict[str, str], after: dict[str, str]) -> str:
    """Return what differs between two snapshots, as diffs; nothing if they are the same."""
    return "\n".join(
        f"{name}: {line}"
        for name, text in before.items()
        for line in difflib.unified_diff(text.splitlines(), after[name].splitlines(), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    )


def marked_processes(mark: str) -> dict[int, str]:
    """Return the processes that have the mark in their environment, with their command lines; zombies have none.

    Args:
        mark: "NAME=VALUE".
    """
    found = {}
    for process in _processes():
        with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
            if mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
    return found


def namespaces_of(process: int) -> set[str]:
    """Return the namespaces that a process is in or holds by descriptor and this one is not in: "net:[4026531840]"."""
    found = set()
    for folder in (f"/proc/{process}/ns", f"/proc/{process}/fd"):
        for path in Path(folder).iterdir():
            with contextlib.suppress(OSError):  # a descriptor that was closed meanwhile
                target = str(path.readlink())
                if re.fullmatch(r"(net|mnt|pid|uts|ipc|user):\[\d+\]", target):
                    found.add(target)
    return found - {str(path.readlink()) for path in Path("/proc/self/ns").iterdir()}


def holders(namespaces: set[str], before: int) -> set[str]:
    """Return those of the namespaces that a process is in, or will put its children into.

    Args:
        before: only processes that had started then count (`ticks`): the kernel gives numbers to others again.
    """
    held = set()
    for process in _processes():
        with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
            if _started(process) <= before:
                held |= {str(path.readlink()) for path in (process / "ns").iterdir()} & namespaces
    return held


def ticks() -> int:
    """Return the time in the unit of processes' start times, since the machine was booted."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _started(process: Path) -> int:
    """Return field 22 of proc_pid_stat(5); the second field is in brackets and may hold anything."""
    return int((process / "stat").read_text().rpartition(")")[2].split()[19])


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def _table(command: list[str]) -> str:
    try:
        return output_of(command)
    except LabError as error:  # a kernel without nftables or IPv6
        return str(error)


def _listing(folder: str) -> str:
    paths = sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []
    return "".join(f"{path}\n" for path in paths)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")  # of pytest-xdist; its controller compares for all of them


def pytest_sessionstart(session: pytest.Session) -> None:
    if not _is_worker(session.config):
        session.config.stash[_BEFORE] = snapshot()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _is_worker(session.config):
        session.config.stash[_AFTER] = differences(session.config.stash[_BEFORE], snapshot())
        if session.config.stash[_AFTER]:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash.get(_AFTER, ""):
        terminalreporter.section("the machine is not as it was before these tests", red=True)
        terminalreporter.line(config.stash[_AFTER])
