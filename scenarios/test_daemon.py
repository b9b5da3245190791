"""A daemon (book 7): it leaves the terminal, drops its privileges, and opens its log anew, or tells syslog.

left (clients) ── lan ── right (the daemon)
"""

import re
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.errors import NotSupportedError
from lab.mutants import faulty
from lab.node import Node
from lab.probes import proc, tcp
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

    def answers(self) -> bool:
        """Whether it answers at all."""
        try:
            return bool(self.asked())
        except TimeoutError:
            return False

    def signal(self, number: int) -> None:
        self.lab["right"].run("kill", f"-{number}", str(self.pid())).check()

    def stop(self) -> None:
        """Return when it has neither its port nor its pid file any more."""
        self.signal(signal.SIGTERM)
        assert comes_true(lambda: not any(one.state == "LISTEN" for one in self.lab["right"].sockets()))


@pytest.fixture
def daemon(lab: Lab, tmp_path: Path) -> Daemon:
    """A daemon of this test's; its lab is so too, and ends it."""
    return Daemon(lab, tmp_path)


class Syslogd:
    """A socket that is read as a syslogd reads /dev/log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = self._bound()

    def next(self) -> tuple[int, str, int, str]:
        """The next line: priority and facility, who, its process id, text."""
        line = self._socket.recv(1024).decode()
        found = re.fullmatch(r"<(\d+)>\w{3} [ \d]\d \d\d:\d\d:\d\d (\w+)\[(\d+)\]: (.+)", line)
        assert found, line
        return int(found[1]), found[2], int(found[3]), found[4]

    def restart(self) -> None:
        """Be another one, as after an update of it."""
        self.close()
        self.path.unlink()
        self._socket = self._bound()

    def close(self) -> None:
        """Read no more."""
        self._socket.close()

    def _bound(self) -> socket.socket:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bound.settimeout(10)
        bound.bind(str(self.path))
        self.path.chmod(0o666)
        return bound


@pytest.fixture
def syslogd(tmp_path: Path) -> Iterator[Syslogd]:
    """The only one that hears of it: no word reaches the machine's own log."""
    with closing(Syslogd(tmp_path / "log")) as reader:
        yield reader


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

    daemon.stop()


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
@pytest.mark.book("7.1")
@pytest.mark.mutant("all lines matter alike", faulty("daemon", "ONE_PRIORITY"))
def test_syslog_is_told_who_says_what_and_how_much_it_matters(daemon: Daemon, syslogd: Syslogd) -> None:
    """A datagram is a line: "<30>Nov 26 21:04:58 daemon[4711]: text", whose first number is 8 * facility + priority.

    Here the facility is 3 (LOG_DAEMON), and the priority 6 (LOG_INFO) or 5 (LOG_NOTICE): whoever reads sorts by them
    what goes where. syslog(3) writes to /dev/log and nowhere else; this daemon takes another socket, the test's own.
    """
    daemon.start("--syslog", str(syslogd.path), log=False).check()
    pid = int(daemon.asked()["pid"])
    assert syslogd.next() == (30, "daemon", pid, "answered one")
    daemon.signal(signal.SIGHUP)
    assert syslogd.next() == (29, "daemon", pid, "SIGHUP: the log goes on here")
    syslogd.restart()
    daemon.asked()
    assert syslogd.next() == (30, "daemon", pid, "answered one")


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("7.1")
@pytest.mark.mutant("it waits for who reads the log", faulty("daemon", "WAITS_FOR_SYSLOG"))
def test_a_syslog_that_nobody_reads_stops_nobody(daemon: Daemon, syslogd: Syslogd) -> None:
    """A socket has room for some datagrams (net.unix.max_dgram_qlen); syslog(3) then waits, and its program with it.

    A server had better lose lines of its log than clients. Without anybody to read it fails at once, as with a log
    file that cannot be opened.
    """
    daemon.start("--syslog", str(syslogd.path), log=False).check()
    room = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    assert all(daemon.answers() for _ in range(room + 5))
    assert syslogd.next()[3] == "answered one"
    daemon.stop()
    syslogd.close()
    nobody = daemon.start("--syslog", str(syslogd.path), log=False)
    assert (nobody.exit_code, nobody.stderr) == (1, f"daemon: connect {syslogd.path}: Connection refused\n")


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("7.2")
@pytest.mark.mutant("it keeps its groups", faulty("daemon", "KEEPS_GROUPS"))
def test_privileges_are_dropped_once_the_port_is_bound(lab: Lab, daemon: Daemon) -> None:
    """A port below 1024 takes root; serving strangers must not be done as root.

    So the user is changed in between: groups first, then the group, then the user, as no way leads back. The saved
    ids count as well, for who keeps one can return to it.
    """
    try:
        proc.as_user(lab["right"], NOBODY)
    except NotSupportedError as error:
        pytest.skip(str(error))
    daemon.start("--user", str(NOBODY), log=False).check()
    itself = daemon.asked()
    assert (itself["uid"], itself["gid"]) == (str(NOBODY), str(NOBODY))
    assert status(lab["right"], daemon.pid(), "Uid").split() == [str(NOBODY)] * 4
    assert status(lab["right"], daemon.pid(), "Gid").split() == [str(NOBODY)] * 4
    assert status(lab["right"], daemon.pid(), "Groups") == ""
    assert int(status(lab["right"], daemon.pid(), "CapEff"), 16) == 0


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("7.6")
@pytest.mark.mutant("it closes on what is unread", faulty("daemon", "LEAVES_UNREAD"))
def test_who_speaks_first_is_answered_all_the_same(lab: Lab) -> None:
    """Nobody wants to know what a client says, and yet it has to be read: close(2) resets who has said more.

    A reset can take back an answer that is on its way.
    """
    with lab["right"].deploy("daemon", port=PORT) as server:
        proc.pause(lab["right"], server)
        with lab["left"].connect(lab["right"].address(), PORT) as client:
            client.sendall(b"good day\n")
            server.signal(signal.SIGCONT)
            assert re.fullmatch(rb"pid .*\n", tcp.read_to_any_end(client))
