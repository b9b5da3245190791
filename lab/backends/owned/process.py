"""A program of a lab, as who started it holds it."""

from __future__ import annotations

import contextlib
import signal
import socket

from lab.backends.owned import messages


class OwnedProcess:
    """See `lab.backends.base.RunningProcess`: a connection to the owner per process."""

    def __init__(self, connection: socket.socket, pid: int, exit_code: int | None = None) -> None:
        self._connection = connection
        self._exit_code = exit_code
        self.pid = pid

    def wait(self, timeout: float | None) -> int | None:
        """Return the exit code, or None if it still runs after `timeout` seconds."""
        while self._exit_code is None:
            self._connection.settimeout(timeout)
            try:
                message = messages.receive(self._connection)
            except (TimeoutError, BlockingIOError):
                return None
            except messages.ConnectionLostError:
                self._exit_code = -signal.SIGKILL  # the lab is down, and the kernel has killed all in it
            else:
                self._exit_code = message.body.get("exit")  # an answer to `signal` has none
        self._connection.close()
        return self._exit_code

    def signal(self, number: int) -> None:
        """Send a signal to the process group."""
        if self._exit_code is None:
            with contextlib.suppress(messages.ConnectionLostError):  # then it has ended with its lab
                messages.send(self._connection, {"do": "signal", "signal": number})
                self._connection.settimeout(None)
                while (code := messages.receive(self._connection).body.get("exit")) is not None:
                    self._exit_code = code  # it ended meanwhile; the answer is still to come

    def close(self) -> None:
        """Let go of the program."""
        self._connection.close()
