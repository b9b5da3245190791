"""A terminal to run programs in: what a person at a keyboard would type and see."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from lab.command import find_tool
from tests import ordinary_user
from tests.users import User

CTRL_C, CTRL_Z, CTRL_BACKSLASH, CTRL_D = b"\x03", b"\x1a", b"\x1c", b"\x04"
_LIMIT = 20.0  # seconds to wait for a text


class Terminal:
    """A pseudo-terminal (pty(7)) with one program on it, which has it as its controlling terminal."""

    def __init__(self, user: User, arguments: Sequence[str], *, rows: int = 33, columns: int = 111) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if not user.is_root and not os.geteuid():
            os.fchown(slave, ordinary_user.UID, -1)
        self.seen = ""
        settings: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave, "env": user.environment}
        command = [find_tool("setsid"), "--ctty", "--wait", *user.command(*arguments)]
        self.program = subprocess.Popen(command, cwd=ordinary_user.PROJECT, **settings)
        os.close(slave)

    def write(self, text: str | bytes) -> None:
        os.write(self._master, text if isinstance(text, bytes) else text.encode())

    def expect(self, text: str) -> None:
        """Return when the text has appeared, counting only what came after the text expected before."""
        deadline = time.monotonic() + _LIMIT
        while text not in self.seen:
            left = deadline - time.monotonic()
            if not select.select([self._master], [], [], max(left, 0))[0]:
                raise AssertionError(f"waited {_LIMIT:g} s for {text!r}; seen: {self.seen!r}")
            self._read(text)
        self.seen = self.seen.partition(text)[2]

    def wait(self) -> int:
        """Return the exit code, as `subprocess` gives it."""
        return self.program.wait(_LIMIT)

    def _read(self, wanted: str) -> None:
        try:
            self.seen += os.read(self._master, 4096).decode(errors="replace")
        except OSError as error:  # EIO: nobody has the terminal open any more
            raise AssertionError(f"the program ended without {wanted!r}; seen: {self.seen!r}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.program.poll() is None:
            self.program.kill()
            self.program.wait()
        os.close(self._master)
