"""A server of servers: xinetd listens, and starts a program for each connection (the book's 9.8).

client ── lan ── server (xinetd: echo is cat, daytime is date)
"""

import socket

import pytest

from lab.mutants import reconfigured
from lab.node import Node
from lab.probes import tcp
from lab.running import Lab
from lab.wait import wait_until

ECHO, DAYTIME = 7, 13


def processes(node: Node, name: str) -> list[dict[str, str]]:
    """What /proc says of each process of a name that runs in the node's lab."""
    script = "for d in /proc/[0-9]*; do cat $d/status 2>/dev/null && echo; done"
    found = []
    for block in node.run("sh", "-c", script).stdout.split("\n\n"):
        fields = dict(line.split(":\t", 1) for line in block.splitlines() if ":\t" in line)
        if fields.get("Name") == name:
            found.append(fields)
    return found


def descriptor(node: Node, pid: str, number: int) -> str:
    """What a descriptor of a process is, as "socket:[4711]"."""
    return node.run("readlink", f"/proc/{pid}/fd/{number}").check().stdout.strip()


def connect(lab: Lab, port: int) -> socket.socket:
    return lab["client"].connect(lab["server"].address(), port)


def echo(connection: socket.socket, text: bytes) -> bytes:
    """What comes back; nothing if the connection was not wanted."""
    try:
        connection.sendall(text)
        return tcp.read_exactly(connection, len(text))
    except OSError:
        return b""


@pytest.mark.topology("xinetd.yaml")
@pytest.mark.book("9.8")
@pytest.mark.mutant("only one is served", reconfigured("server", "xinetd", "wait = no", "wait = no\n    instances = 1"))
def test_each_connection_is_the_input_and_the_output_of_a_program_of_its_own(lab: Lab) -> None:
    """It accepts, forks, and puts the connection in the place of descriptors 0 to 2; cat makes it an echo server.

    When the client ends, cat comes to the end of its input and ends too, and xinetd takes note of it.
    """
    server = lab["server"]
    with connect(lab, ECHO) as one, connect(lab, ECHO) as two:
        assert [echo(client, b"hello") for client in (one, two)] == [b"hello", b"hello"]

        cats = processes(server, "cat")
        assert {cat["PPid"] for cat in cats} == {xinetd["Pid"] for xinetd in processes(server, "xinetd")}
        ends = {f"socket:[{found.inode}]" for found in server.sockets() if found.state == "ESTABLISHED"}
        assert {descriptor(server, cat["Pid"], 0) for cat in cats} == ends
        assert {descriptor(server, cat["Pid"], 1) for cat in cats} == ends
        assert len(cats) == 2
    wait_until(lambda: not processes(server, "cat"), timeout=10, what="the programs to end, and to be reaped")
    assert server.services["xinetd"].log.read_text().count("EXIT: port-7") == 2


@pytest.mark.topology("xinetd.yaml", reuse=True)
@pytest.mark.book("9.8")
@pytest.mark.mutant("another program answers", reconfigured("server", "xinetd", "/bin/cat", "/usr/bin/wc"))
def test_a_half_closed_connection_is_the_end_of_the_programs_input_only(lab: Lab) -> None:
    """Its output still arrives: cat writes all that it has read before it ends."""
    data = bytes(range(256)) * 4096
    with connect(lab, ECHO) as client:
        assert tcp.converse(client, data) == data


@pytest.mark.topology("xinetd.yaml", reuse=True)
@pytest.mark.book("9.8")
@pytest.mark.mutant("it says something else", reconfigured("server", "xinetd", "/bin/date", "/bin/echo"))
def test_a_daytime_server_is_a_program_that_prints_the_date(lab: Lab) -> None:
    """It reads nothing and knows no protocol: RFC 867 asks for a line for people, and the end."""
    days = []
    for command in (["date", "--utc"], [lab.program("daytime_client"), "--host", "server"], ["date", "--utc"]):
        words = lab["client"].run(*command).check().stdout.split()
        days.append([word for word in words if ":" not in word])  # without the time
    assert days[1] in (days[0], days[2])
