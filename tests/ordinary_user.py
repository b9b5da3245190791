"""Runs a program as an ordinary user, from root: `python -P -m tests.ordinary_user PROGRAM [ARGUMENT...]`.

The user is nobody in particular: a uid without a name, without groups and capabilities, with a runtime folder
of its own that is gone afterwards. A clone or an interpreter below a folder that only root can enter (/root, a
temporary folder) is made visible in a mount namespace of the program's own.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.command import find_tool
from lab.netlink import namespaces
from lab.netlink.namespaces import Clone, Mount

UID = 4321
PROJECT = Path(__file__).resolve().parent.parent
_PRIVATE = Mount(0x40000)  # MS_PRIVATE
_SEARCHABLE = 0o001
_FOR_ALL = "/tmp"  # noqa: S108 - whatever TMPDIR says, which may be for root only


def command(*arguments: str, show: Sequence[Path] = ()) -> list[str]:
    """Return the command line that runs a program as the ordinary user; an ordinary user runs it as it is.

    Args:
        show: folders that the program needs, besides the project and the interpreter.
    """
    if os.geteuid():
        return list(arguments)
    wanted = [*needed_folders(), *show]
    drop = [find_tool("setpriv"), f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all"]
    if not hidden(wanted):
        return [*drop, "--", *arguments]
    shown = [f"--show={folder}" for folder in wanted]
    return [sys.executable, "-P", "-m", "tests.ordinary_user", *shown, "--", *drop, "--", *arguments]


def needed_folders() -> list[Path]:
    """Return where the project and the interpreter live, and what the interpreter itself is a link to."""
    interpreter = Path(sys.executable).resolve().parent.parent
    return [PROJECT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), interpreter]


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """Give the environment of the ordinary user: this one, with runtime, temporary and home folders of its own."""
    with tempfile.TemporaryDirectory(prefix="ordinary-", dir=_FOR_ALL) as folder:
        Path(folder).chmod(0o755)
        folders = {"TMPDIR": "temporary", "XDG_RUNTIME_DIR": "run", "HOME": "home"}
        own = {variable: f"{folder}/{name}" for variable, name in folders.items()}
        for path in own.values():
            Path(path).mkdir(mode=0o700)
            if not os.geteuid():
                os.chown(path, UID, UID)
        yield {**os.environ, **own}


def hidden(folders: Sequence[Path]) -> dict[Path, list[Path]]:
    """Return the first folder on the way to each that only root can enter, with those that lie below it."""
    found: dict[Path, list[Path]] = {}
    for folder in folders:
        for ancestor in (*reversed(folder.parents), folder):
            if not ancestor.stat().st_mode & _SEARCHABLE:
                found.setdefault(ancestor, []).append(folder)
                break
    return found


def reveal(folders: Sequence[Path]) -> None:
    """Let everybody reach the folders, in a new mount namespace of the calling process.

    An empty folder that all may enter goes over each that only root can, and what is needed comes back into it.
    """
    namespaces.unshare(Clone.MOUNT)
    namespaces.mount("none", "/", flags=Mount.RECURSIVE | _PRIVATE)
    while found := hidden(folders):
        cover, below = next(iter(found.items()))
        wanted = [path for path in cover.iterdir() if path.exists()] if cover in below else below
        descriptors = {path: os.open(path, os.O_PATH) for path in wanted}
        namespaces.mount("tmpfs", str(cover), "tmpfs", options="mode=755")
        for path, descriptor in descriptors.items():
            _bind(descriptor, path)
            os.close(descriptor)
    os.chdir(Path.cwd())  # by its name, which may now lead elsewhere


def _bind(descriptor: int, path: Path) -> None:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.touch()
    namespaces.mount(f"/proc/self/fd/{descriptor}", str(path), flags=Mount.BIND | Mount.RECURSIVE)


def main(arguments: Sequence[str]) -> int:
    """Run the program and return its exit code; with --show=FOLDER... -- become it, those folders revealed."""
    if arguments and arguments[0].startswith("--show="):
        end = arguments.index("--")
        reveal([Path(argument.removeprefix("--show=")) for argument in arguments[:end]])
        os.execvp(arguments[end + 1], list(arguments[end + 1 :]))  # noqa: S606 - no shell is wanted
    with environment() as own:
        return subprocess.run(command(*arguments), env=_without_root(own), check=False).returncode


def _without_root(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in ("USER", "LOGNAME", "MAIL")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
