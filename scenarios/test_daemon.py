"""A daemon (book 7): it leaves the terminal, drops its privileges, and opens its log anew when it is told to.

left (clients) ── lan ── right (the daemon)
"""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.mutants import faulty
from lab.node import Node
from lab.probes import tcp
from lab.process import Completed
from lab.running import Lab
from lab.wait import comes_true, wait_until

PORT = 7000
NOBODY = 65534


@dataclass(frozen=True)
class Daemon:
    """A daemon that may run, by its pid file."""

    lab: Lab
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / "daemon.pid"

    def command(self, *options: str, log: bool = True) -> tuple[str, ...]:
        files = ("--pid-file", str(self.pid_file), *(("--log-file", str(self.log)) if log else ()))
        return (self.lab.program("daemon"), "--port", str(PORT), "--daemon", *files, *options)

    def start(self, *options: str, log: bool = True) -> Completed:
        """Run the command that starts it, to its end."""
        return self.lab["right"].run(*self.command(*options, log=log))

    def pid(self) -> int:
        """Its process id; it is written last, after the command has returned."""
        wait_until(lambda: self.pid_file.exists() and self.pid_file.read_text() != "", timeout=10, what="the pid file")
        return int(self.pid_file.read_text())

    def asked(self) -> dict[str, str]:
        """What it says about itself."""
        with self.lab["left"].connect(self.lab["right"].address(), PORT) as connection:
            words = tcp.read_to_end(connection).decode().split()
        return dict(zip(words[::2], words[1::2], strict=True))

    def signal(self, number: int) -> None:
        self.lab["right"].run("kill", f"-{number}", str(self.pid())).check()


@pytest.fixture
def daemon(lab: Lab, tmp_path: Path) -> Daemon:
    """A daemon of this test's; its lab is so too, and ends it."""
    return Daemon(lab, tmp_path)


def status(node: Node, pid: int, key: str) -> str:
    """A line of /proc/PID/status."""
    text = node.run("cat", f"/proc/{pid}/status").check().stdout
    return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(key + ":"))


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("7.6")
@pytest.mark.mutant("it stays in its caller's session", faulty("daemon", "NO_SETSID"))
def test_a_daemon_belongs_to_nobody(lab: Lab, daemon: Daemon) -> None:
    """The command returns, and what goes on has another session, which it does not lead, so no terminal can be its.

    Its parent has ended, its folder is the root, and nothing of the caller's is open as its input or output.
    """
    right = lab["right"]
    command = right.start(*daemon.command())
    assert command.wait().check().stderr == ""
    itself = daemon.asked()
    pid = daemon.pid()
    assert int(itself["pid"]) == pid
    assert status(right, pid, "PPid") == "1"
    assert itself["folder"] == "/"
    assert int(itself["session"]) not in {command.pid, pid}
    leader = right.run("kill", "-0", itself["session"])
    assert leader.exit_code != 0  # it has ended
    opened = [right.run("readlink", f"/proc/{pid}/fd/{number}").check().stdout.strip() for number in range(3)]
    assert opened == ["/dev/null", "/dev/null", str(daemon.log)]


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("7.6")
@pytest.mark.mutant("nobody locks the pid file", faulty("daemon", "NO_LOCK"))
def test_what_fails_fails_before_anybody_looks_away(lab: Lab, daemon: Daemon) -> None:
    """A port that is taken, or a daemon that runs already: the command says so, as nobody would read a log for it."""
    daemon.start().check()
    daemon.pid()
    taken = daemon.start()
    assert taken.exit_code == 1
    assert taken.stderr == f"daemon: bind 0.0.0.0:{PORT}: Address already in use\n"

    program = (lab.program("daemon"), "--port", str(PORT + 1), "--daemon", "--pid-file", str(daemon.pid_file))
    second = lab["right"].run(*program)
    assert second.exit_code == 1
    assert re.fullmatch(r"daemon: lock .*daemon\.pid: Resource temporarily unavailable\n", second.stderr)

    daemon.signal(signal.SIGTERM)
    assert comes_true(lambda: not any(one.state == "LISTEN" for one in lab["right"].sockets()))


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("7.6")
@pytest.mark.mutant("it goes on writing into the old file", faulty("daemon", "LOG_NOT_REOPENED"))
def test_a_log_is_renamed_first_and_opened_anew_on_sighup(daemon: Daemon) -> None:
    """An open file keeps its descriptor whatever becomes of its name: the daemon writes on into the renamed one.

    That is how logs are rotated without losing a line: rename, SIGHUP, and only then pack the old one away.
    """
    daemon.start().check()
    daemon.asked()
    assert comes_true(lambda: daemon.log.read_text() == "answered one\n")

    old = daemon.log.rename(daemon.folder / "daemon.log.1")
    daemon.asked()
    assert comes_true(lambda: old.read_text() == "answered one\n" * 2)
    assert not daemon.log.exists()

    daemon.signal(signal.SIGHUP)
    assert comes_true(daemon.log.exists)
    daemon.asked()
    assert comes_true(lambda: daemon.log.read_text() == "SIGHUP: the log goes on here\nanswered one\n")
    assert old.read_text() == "answered one\n" * 2


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("7.2")
@pytest.mark.mutant("it keeps its groups", faulty("daemon", "KEEPS_GROUPS"))
def test_privileges_are_dropped_once_the_port_is_bound(lab: Lab, daemon: Daemon) -> None:
    """A port below 1024 takes root; serving strangers must not be done as root.

    So the user is changed in between: groups first, then the group, then the user, as no way leads back. The saved
    ids count as well, for who keeps one can return to it.
    """
    trial = lab["right"].run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "true")
    if trial.exit_code:
        pytest.skip(f"there is no other user to become here: {trial.stderr.strip()}")
    daemon.start("--user", str(NOBODY), log=False).check()
    itself = daemon.asked()
    assert (itself["uid"], itself["gid"]) == (str(NOBODY), str(NOBODY))
    assert status(lab["right"], daemon.pid(), "Uid").split() == [str(NOBODY)] * 4
    assert status(lab["right"], daemon.pid(), "Gid").split() == [str(NOBODY)] * 4
    assert status(lab["right"], daemon.pid(), "Groups") == ""
    assert int(status(lab["right"], daemon.pid(), "CapEff"), 16) == 0
