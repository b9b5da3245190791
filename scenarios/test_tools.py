"""The tools of the book's chapter 17, in a node, and what they say beside what the harness reads by itself.

left (client) ── lan ── right (echo server)
"""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.checks import tcp as segments
from lab.command import find_tool
from lab.errors import MissingToolError
from lab.mutants import Sabotage
from lab.netlink.sockdiag import Socket
from lab.probes import proc, tcp
from lab.process import Process
from lab.running import Lab
from lab.trace.packet import Packet
from lab.wait import comes_true

PORT = 7


@pytest.fixture(autouse=True)
def tool(request: pytest.FixtureRequest) -> str:
    """The tool that the test is about: its name's last word."""
    name = str(request.node.originalname).rpartition("_")[2]
    try:
        return find_tool(name)
    except MissingToolError as error:
        pytest.skip(str(error))


def silent(name: str, node: str = "right") -> Sabotage:
    """Return what puts a program that says nothing in a tool's place, in one node alone."""

    def replace(lab: Lab) -> None:
        nothing = shutil.which("true")
        assert nothing
        lab[node].run("mount", "--bind", nothing, find_tool(name)).check()

    return replace


def instead(name: str, script: str) -> Sabotage:
    """Return what puts a shell script in a tool's place, in `right` alone; "$real" is the tool itself there."""

    def replace(lab: Lab) -> None:
        lab.backend.write("right", {f"/run/{name}": f"#!/bin/sh\nreal=/run/real-{name}\n{script}\n"})
        lab["right"].run("cp", find_tool(name), f"/run/real-{name}").check()
        lab["right"].run("chmod", "755", f"/run/{name}").check()
        lab["right"].run("mount", "--bind", f"/run/{name}", find_tool(name)).check()

    return replace


@contextmanager
def conversation(lab: Lab) -> Iterator[tuple[Process, socket.socket]]:
    """An echo server, and a client that has had its first answer."""
    with (
        lab["right"].deploy("echo_poll", port=PORT) as server,
        lab["left"].connect(lab["right"].address(), PORT) as client,
    ):
        client.sendall(b"hello")
        assert tcp.read_exactly(client, 5) == b"hello"
        yield server, client


def own(lab: Lab) -> list[Socket]:
    """The server's sockets: the one that listens, then the one that talks."""
    return sorted((one for one in lab["right"].sockets() if one.local[1] == PORT), key=lambda one: one.remote[1])


def flags(packet: Packet) -> str:
    """A segment's flags as tcpdump writes them."""
    assert packet.tcp
    letters = (("S", packet.tcp.is_syn), ("F", packet.tcp.is_fin), ("P", packet.tcp.is_psh), (".", packet.tcp.is_ack))
    return "".join(letter for letter, is_set in letters if is_set)


def is_segment(packet: Packet) -> bool:
    return packet.tcp is not None


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("17.1")
@pytest.mark.mutant("it says nothing", silent("tcpdump"))
def test_every_segment_is_seen_by_tcpdump(lab: Lab) -> None:
    """It reads what a packet socket hands it, as the harness does: the same segments, in the same order.

    Two things make it lose packets. Until it says that it listens it hears nothing; and without --immediate-mode the
    kernel collects packets for it, and what is still collected when it is stopped is gone.
    """
    command = ("tcpdump", "-n", "-l", "--immediate-mode", "-Z", "root", "-i", "eth0", "tcp")
    with lab["right"].start(*command) as tcpdump:
        assert comes_true(lambda: "listening on eth0" in tcpdump.stderr or tcpdump.exit_code == 1)
        if "Couldn't change to 'root'" in tcpdump.stderr:
            pytest.skip("tcpdump gives root's powers up, which nobody has who is root in a user namespace alone")
        with lab["right"].capture("eth0") as capture, conversation(lab) as (_server, client):
            client.shutdown(socket.SHUT_WR)
            assert tcp.read_to_end(client) == b""
        wanted = [flags(packet) for packet in capture.trace.where(is_segment)]
        assert comes_true(lambda: tcpdump.stdout.count("\n") >= len(wanted))
        assert re.findall(r"Flags \[(\S+)\]", tcpdump.stdout) == wanted
    assert wanted[:3] == ["S", "S.", "."]


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("17.2")
@pytest.mark.mutant("it says nothing", silent("lsof"))
def test_who_has_a_socket_open_is_known_to_lsof(lab: Lab) -> None:
    """It walks through /proc/PID/fd, where a socket is a number, and finds that in the socket table."""
    with conversation(lab) as (server, client):
        lines = lab["right"].run("lsof", "-nP", f"-iTCP:{PORT}").check().stdout.splitlines()[1:]
        columns = [line.split() for line in lines]
        port = client.getsockname()[1]
        assert {int(column[1]) for column in columns} == {server.pid}
        assert {int(column[5]) for column in columns} == {one.inode for one in own(lab)}
        assert [(column[8].rpartition(":")[2], column[9]) for column in columns] == [
            (str(PORT), "(LISTEN)"),
            (str(port), "(ESTABLISHED)"),
        ]


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("17.3")
@pytest.mark.mutant("it says nothing", silent("ncat", "left"))
def test_anything_can_be_said_to_a_server_by_ncat(lab: Lab) -> None:
    """What stands on its input goes to the server, and what comes back to its output; the end of the input is a FIN.

    (The book's nc has many successors, which differ in just that; this is the nmap project's.)
    """
    left, right = lab["left"], lab["right"]
    with right.deploy("echo_poll", port=PORT), left.capture() as capture:
        done = left.run("ncat", right.address(), str(PORT), stdin=b"hello\nworld\n").check()
    assert done.stdout == "hello\nworld\n"
    (talk,) = capture.trace.conversations()
    assert b"".join(packet.payload for packet in talk.from_client) == b"hello\nworld\n"
    assert talk.from_client.where(segments.is_fin)


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("17.4")
@pytest.mark.mutant("it says nothing", silent("strace"))
def test_what_a_server_asks_of_the_kernel_is_written_down_by_strace(lab: Lab) -> None:
    """Attached to a process that runs, it shows each system call with its arguments and its result."""
    with conversation(lab) as (server, client):
        with lab["right"].start("strace", "-p", str(server.pid), "-e", "trace=network,desc", "-s", "16") as strace:
            assert comes_true(lambda: "attached" in strace.stderr)
            client.sendall(b"do you see me?")
            assert tcp.read_exactly(client, 14) == b"do you see me?"
            calls = r'(\w+)\(\d+, "do you see me\?"[^)]*\) += 14'
            assert comes_true(lambda: len(re.findall(calls, strace.stderr)) == 2)
            received, sent = re.findall(calls, strace.stderr)
        assert received in {"read", "recvfrom", "readv"}
        assert sent in {"write", "sendto", "writev"}


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("17.5")
@pytest.mark.mutant("it says nothing", silent("netstat"))
def test_the_states_of_connections_are_told_by_netstat(lab: Lab) -> None:
    """It reads /proc/net/tcp, which is the network namespace's of who reads."""
    with conversation(lab):
        lines = lab["right"].run("netstat", "-tan").check().stdout.splitlines()[2:]
        assert rows(lines, state=5, local=3) == table(lab)


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("17.5")
@pytest.mark.mutant("it says nothing", silent("ss"))
def test_the_states_of_connections_are_told_by_ss(lab: Lab) -> None:
    """Its successor asks over netlink (sock_diag), as the harness does, and can tell more: queues, timers, TCP_INFO."""
    with conversation(lab):
        lines = lab["right"].run("ss", "-Htan").check().stdout.splitlines()
        assert rows(lines, state=0, local=3) == table(lab)


def rows(lines: list[str], *, state: int, local: int) -> set[tuple[str, str, str]]:
    """State, local and remote address of each line, from the columns where they stand."""
    columns = [line.split() for line in lines]
    short = {"ESTAB": "ESTABLISHED"}
    return {(short.get(one[state], one[state]), one[local], one[local + 1].replace("*", "0")) for one in columns}


def table(lab: Lab) -> set[tuple[str, str, str]]:
    return {(one.state, "{}:{}".format(*one.local), "{}:{}".format(*one.remote)) for one in lab["right"].sockets()}


def counted(lab: Lab) -> dict[str, int]:
    """What the kernel has counted since the machine started, by /proc/stat's names: "intr", "ctxt", "processes"."""
    lines = lab["right"].run("cat", "/proc/stat").check().stdout.splitlines()
    return {name: int(figure) for name, figure, *_parts in map(str.split, lines)}


def number(text: str, label: str) -> int:
    """The number that stands before a label, on a line of its own."""
    found = re.search(rf"^ *(\d+) {label}$", text, re.MULTILINE)
    assert found, text
    return int(found[1])


def late(lab: Lab) -> None:
    """Let vmstat go on saying what it would have said now."""
    said = lab["right"].run("vmstat", "-s").check().stdout
    instead("vmstat", f"cat <<END\n{said}END")(lab)


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("17.6")
@pytest.mark.mutant("it says nothing", silent("vmstat"))
@pytest.mark.mutant("it says what was true a while ago", late)
@pytest.mark.mutant("a process counts for ten", instead("vmstat", '"$real" "$@" | sed "s/ forks/0 forks/"'))
def test_memory_and_processes_are_counted_by_vmstat(lab: Lab) -> None:
    """Its figures are /proc/meminfo's and /proc/stat's.

    A namespace has no memory of its own, and no processors: they are the machine's. Most figures only grow, from when
    the machine started; `vmstat 1` shows by how much in each second (its first line is the mean of all the time before
    that). So what it says lies between what the kernel says before and after. Each of those who ask is a process more.
    """
    before = counted(lab)
    said = lab["right"].run("vmstat", "-s").check().stdout
    after = counted(lab)
    assert before["processes"] < number(said, "forks") < after["processes"]
    assert before["ctxt"] <= number(said, "CPU context switches") <= after["ctxt"]
    assert before["intr"] <= number(said, "interrupts") <= after["intr"]
    known = re.search(r"MemTotal: +(\d+) kB", lab["right"].run("cat", "/proc/meminfo").check().stdout)
    assert known
    assert number(said, "K total memory") == int(known[1])


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("17.7")
@pytest.mark.mutant("it says nothing", silent("ifstat"))
def test_the_bytes_of_an_interface_are_counted_by_ifstat(lab: Lab) -> None:
    """It reads the interface's counters again and again, and shows how they grow: headers and all, in KB a second."""
    interval, samples = 0.5, 6
    left, right = lab["left"], lab["right"]
    with (
        conversation(lab) as (_server, client),
        right.start("ifstat", "-i", "eth0", str(interval), str(samples)) as ifstat,
        left.capture() as capture,
    ):
        assert comes_true(lambda: len(ifstat.stdout.splitlines()) > 2)  # two lines of headings, then the first sample
        assert tcp.converse(client, bytes(1_000_000)) == bytes(1_000_000)
        shown = ifstat.wait().stdout.splitlines()[2:]
    kilobytes = [sum(float(line.split()[column]) for line in shown) * interval for column in (0, 1)]
    sent = [sum(packet.length for packet in capture.trace if packet.direction == way) / 1024 for way in ("out", "in")]
    for figure, known in zip(kilobytes, sent, strict=True):
        assert known / 2 < figure < known * 2


def ticks(lab: Lab) -> dict[str, dict[str, int]]:
    """Where each processor's time went, in hundredths of a second since the machine started, by mpstat's columns."""
    names = ("%usr", "%nice", "%sys", "%idle", "%iowait", "%irq", "%soft", "%steal", "%guest", "%gnice")
    found = {}
    for line in lab["right"].run("cat", "/proc/stat").check().stdout.splitlines():
        if re.match(r"cpu\d", line):
            processor, *figures = line.split()
            spent = dict(zip(names, map(int, figures), strict=True))
            spent["%usr"] -= spent["%guest"]  # which /proc/stat counts twice (proc_stat(5))
            spent["%nice"] -= spent["%gnice"]
            found[processor.removeprefix("cpu")] = spent
    return found


def largest_shares(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    """How much of a second in between can at most have been what: percent, by column."""
    spent = {column: after[column] - before[column] for column in after}
    # A machine that stands still for a moment, as virtual ones do, counts less than a second's ticks.
    second = 0.9 * min(os.sysconf("SC_CLK_TCK"), max(1, sum(spent.values())))
    return {column: 100 * count / second + 3 for column, count in spent.items()}


def shares(report: str) -> dict[str, dict[str, float]]:
    """What mpstat says at its end: percent of each processor's time, by its columns."""
    lines = [line.split()[1:] for line in report.splitlines() if line.startswith("Average:")]
    return {
        processor: dict(zip(lines[0][1:], map(float, figures), strict=True))
        for processor, *figures in lines[1:]
        if processor != "all"
    }


@contextmanager
def busy(lab: Lab, processor: int) -> Iterator[None]:
    """Let a program run in a loop, on one processor."""
    loop = ("taskset", "--cpu-list", str(processor), "sh", "-c", "while :; do :; done")
    with lab["right"].start(*loop) as running:
        assert comes_true(lambda: proc.processor_ticks(lab["right"], running.pid) > 1)
        yield


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("17.8")
@pytest.mark.mutant("it says nothing", silent("mpstat"))
@pytest.mark.mutant(
    "it tells of all time since the machine started",
    instead("mpstat", 'S_TIME_FORMAT=ISO "$real" -P ALL | sed "s/^[0-9][0-9:]*/Average:/"'),
)
@pytest.mark.mutant(
    "it confuses work and rest",
    instead("mpstat", '"$real" "$@" | sed "s/%usr/%was/; s/%idle/%usr/; s/%was/%idle/"'),
)
def test_every_processor_is_watched_by_mpstat(lab: Lab) -> None:
    """One line each: where its time went. It is the machine's too, and whatever it did adds up to all of its time.

    It reads /proc/stat twice and tells of the difference. So it cannot have seen more of anything than the kernel
    counted from before it began until after it ended; and a processor on which a program runs in a loop, in whatever
    namespace, has no time to be idle.
    """
    looping = max(os.sched_getaffinity(0))
    with busy(lab, looping):
        before = ticks(lab)
        said = shares(lab["right"].run("mpstat", "-P", "ALL", "1", "1").check().stdout)
        after = ticks(lab)
    assert list(said) == list(after)
    for processor, seen in said.items():
        assert sum(seen.values()) == pytest.approx(100, abs=1) or set(seen.values()) == {0.0}
        most = largest_shares(before[processor], after[processor])
        assert {column: share for column, share in seen.items() if share > most[column]} == {}
    assert sum(said[str(looping)].values()) == pytest.approx(100, abs=1)
    assert said[str(looping)]["%idle"] < 10


@pytest.mark.topology("two-hosts.yaml")
@pytest.mark.book("16.3")
@pytest.mark.mutant("it says nothing", silent("gdb"))
def test_one_process_of_a_pool_is_looked_into_by_gdb(lab: Lab, tmp_path: Path) -> None:
    """A debugger that is attached to the parent sees the parent. Each child of a pool has a number of its own.

    It stands still meanwhile, and the others go on: so one looks into a child that is stuck while the server serves.
    (Or one lets gdb follow the child when the parent forks: set follow-fork-mode child.)
    """
    right = lab["right"]
    with right.deploy("cgi_server", "--root", str(tmp_path), "--workers", "2", port=PORT) as server:
        children = [child.pid for child in proc.children(right, server.pid)]
        assert len(children) == 2
        look = ("-ex", "info proc", "-ex", "bt", "-ex", "detach")
        said = right.run("gdb", "--nx", "--batch", "-p", str(children[0]), *look).stdout
        assert f"process {children[0]}" in said
        assert re.search(r"^#\d+ .* main \(", said, re.MULTILINE)
        with lab["left"].connect(right.address(), PORT) as client:
            client.sendall(b"GET /none HTTP/1.0\r\n\r\n")
            assert tcp.read_to_end(client).startswith(b"HTTP/1.1 404 ")
