"""A CGI server (15.4): which programs it runs, what it tells them, and how long it lets them.

left (client) ── lan ── right (server)
"""

import json
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from lab.mutants import faulty
from lab.node import Node
from lab.probes import http, proc, tcp
from lab.process import Process
from lab.running import Lab
from lab.trace.http import Response
from lab.wait import comes_true

PORT = 80

PROGRAMS = {
    "hello": "printf 'Content-Type: text/plain\\n\\nhello\\n'",
    "environment": "printf 'Content-Type: text/plain\\n\\n'; env",
    "echo": "printf 'Content-Type: application/octet-stream\\n\\n'; cat",
    "deaf": "exec <&-; printf 'Content-Type: text/plain\\n\\nI do not read\\n'",
    "slow": "sleep 1000 & sleep 1000",
    "half": "printf 'Content-Type: text/plain\\n\\nhalf of it\\n'; sleep 1000",
    "second": "sleep 1; printf 'Content-Type: text/plain\\n\\nat last\\n'",
    "teapot": 'printf "Status: 418 I\'m a teapot\\nX-Pot: short\\nConnection: keep-alive\\n\\n"',
    "elsewhere": "printf 'Location: http://www.example.test/\\n\\n'",
    "silent": "exit 0",
    "garbage": "printf 'no head at all\\n\\n'",
    "big": "printf 'Content-Type: application/octet-stream\\n\\n'; head -c 5000000 /dev/zero",
    "descriptors": "printf 'Content-Type: text/plain\\n\\n'; ls -l /proc/$$/fd",
    "folder/inner": "printf 'Content-Type: text/plain\\n\\n'; pwd",
}

Deploy = Callable[..., AbstractContextManager[Process]]

pytestmark = [pytest.mark.topology("two-hosts.yaml", reuse=True), pytest.mark.book("15.4")]


def program(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of programs, with things beside it that are nobody's business."""
    folder = tmp_path / "root"
    folder.mkdir()
    for name, body in PROGRAMS.items():
        program(folder / name, body)
    program(tmp_path / "outside", PROGRAMS["hello"])
    (folder / "link").symlink_to("../outside")
    (folder / "alias").symlink_to("hello")
    (folder / "plain.txt").write_text("secret\n")
    return folder


@pytest.fixture
def deploy(lab: Lab, root: Path) -> Deploy:
    def start(*arguments: str) -> AbstractContextManager[Process]:
        return lab["right"].deploy("cgi_server", "--root", str(root), "--workers", "1", *arguments, port=PORT)

    return start


def ask(lab: Lab, target: str, method: str = "GET", body: bytes = b"", **fields: str) -> Response:
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    with lab["left"].connect(lab["right"].address(), PORT) as client:
        return http.exchange(client, http.request(method, target, host="right", headers=headers, body=body))


def post(lab: Lab, target: str, body: bytes) -> bytes:
    """All that the server answers, read while the body is sent: else both sides might wait for each other."""
    with lab["left"].connect(lab["right"].address(), PORT) as client:
        return tcp.converse(client, http.request("POST", target, host="right", body=body))


def send(lab: Lab, data: bytes) -> socket.socket:
    client = lab["left"].connect(lab["right"].address(), PORT)
    client.sendall(data)
    return client


def status(lab: Lab, data: bytes) -> int:
    """The status of what the server answers to these bytes; 0 if it does not answer in time."""
    with send(lab, data) as client:
        return status_on(client)


def status_on(client: socket.socket, timeout: float = 5.0) -> int:
    client.settimeout(timeout)
    try:
        return int(client.recv(12)[9:12] or 0)
    except (TimeoutError, ConnectionResetError):
        return 0


def get(target: str) -> bytes:
    return http.request("GET", target, host="right")


def scripts(node: Node, server: Process) -> list[proc.Task]:
    """What runs, or is not reaped, below the only worker."""
    return [child for worker in proc.children(node, server.pid) for child in proc.children(node, worker.pid)]


def sleepers(node: Node) -> int:
    """How many processes of the lab sleep for 1000 seconds."""
    return len(node.run("pgrep", "-xf", "sleep 1000").stdout.split())


@pytest.mark.mutant("paths are opened as they come", faulty("cgi_server", "CGI_TRAVERSAL"))
def test_nothing_outside_of_the_root_is_run(lab: Lab, deploy: Deploy) -> None:
    """Not by dots, plain or encoded, not by a link. Within the root everything is as it seems, links as well."""
    with deploy():
        answers = {target: ask(lab, target).status for target in ("/hello", "/alias", "/folder/../hello", "/%68ello")}
        assert set(answers.values()) == {200}
        wanted = {
            "/link": 403,
            "/../outside": 403,
            "/%2e%2e/outside": 403,
            "/folder/%2e./../../outside": 403,
            "/folder/..%2f../outside": 403,
            "/plain.txt": 403,
            "/folder": 403,
            "/": 403,
            "/nothing": 404,
            "/nothing/hello": 404,
            "/hello%00": 400,
        }
        assert {target: ask(lab, target).status for target in wanted} == wanted


@pytest.mark.mutant("programs have the pipes of others", faulty("cgi_server", "CGI_INHERITS"))
def test_a_program_has_its_own_three_descriptors_only(lab: Lab, deploy: Deploy) -> None:
    """What is not closed on exec is inherited: a copy of another program's input, and that one never sees its end."""
    with deploy() as server, send(lab, get("/slow")) as client:
        assert comes_true(lambda: len(scripts(lab["right"], server)) == 1)
        listed = ask(lab, "/descriptors").body.decode()
        tcp.reset(client)
        assert listed.count("pipe:") == 2
        assert "socket:" not in listed


@pytest.mark.mutant("programs that have ended stay zombies", faulty("cgi_server", "CGI_NOT_REAPED"))
def test_programs_are_told_what_the_request_says(lab: Lab, deploy: Deploy) -> None:
    """Everything is in the environment (RFC 3875); what is secret or dangerous there is left out."""
    with deploy() as server:
        fields = {"Cookie": "a=1", "Accept": "text/html", "Proxy": "http://evil.test/", "Authorization": "Basic YTpi"}
        said = ask(lab, "/environment/more/path?a=1&b=%20", "POST", b"12345", Content_Type="text/plain", **fields)
        found = dict(line.split("=", 1) for line in said.body.decode().splitlines())
        wanted = {
            "GATEWAY_INTERFACE": "CGI/1.1",
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "/environment",
            "PATH_INFO": "/more/path",
            "QUERY_STRING": "a=1&b=%20",
            "CONTENT_LENGTH": "5",
            "CONTENT_TYPE": "text/plain",
            "REMOTE_ADDR": lab["left"].address(),
            "SERVER_NAME": "right",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_COOKIE": "a=1",
            "HTTP_ACCEPT": "text/html",
        }
        assert {name: found.get(name) for name in wanted} == wanted
        assert not {"HTTP_PROXY", "HTTP_AUTHORIZATION", "LAB_READY_FD"} & set(found)
        assert ask(lab, "/folder/inner").body.decode().strip().endswith("/root/folder")
        assert comes_true(lambda: scripts(lab["right"], server) == [])


@pytest.mark.mutant("bodies of any size are taken", faulty("cgi_server", "CGI_NO_LIMITS"))
def test_a_body_reaches_the_program_whole(lab: Lab, deploy: Deploy) -> None:
    """In pieces, byte by byte, or a megabyte of it while the answer comes back: what was sent is what is read.

    What is too long is refused before it is sent, and so is a body whose length nobody tells.
    """
    data = bytes(range(256)) * 4096
    with deploy("--most-body", str(len(data))):
        assert post(lab, "/echo", data).partition(b"\r\n\r\n")[2] == data
        with lab["left"].connect(lab["right"].address(), PORT) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in http.request("POST", "/echo", host="right", body=b"drop by drop"):
                client.sendall(bytes([byte]))
            assert tcp.read_to_end(client).endswith(b"\r\n\r\ndrop by drop")
        assert post(lab, "/deaf", data).endswith(b"I do not read\n")
        assert status(lab, b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (len(data) + 1)) == 413
        assert status(lab, b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n") == 411


@pytest.mark.mutant("an answer that breaks off looks like a whole one", faulty("cgi_server", "CGI_NO_ABORT"))
def test_what_a_program_answers_becomes_http(lab: Lab, deploy: Deploy) -> None:
    """Its Status becomes the status line, Location alone a 302; without a proper head it is 502.

    An answer that breaks off, as its program was killed, ends with a reset: a FIN would make it a whole one.
    """
    with deploy("--time-limit", "1"):
        answer = ask(lab, "/teapot")
        assert (answer.status, answer.header("X-Pot"), answer.header("Connection")) == (418, "short", "close")
        moved = ask(lab, "/elsewhere")
        assert (moved.status, moved.header("Location")) == (302, "http://www.example.test/")
        assert (ask(lab, "/silent").status, ask(lab, "/garbage").status) == (502, 502)
        assert ask(lab, "/hello", "HEAD").body == b""
        assert ask(lab, "/hello", "DELETE").status == 501
        assert is_reset(lab, get("/half"))


def is_reset(lab: Lab, data: bytes) -> bool:
    """Whether the server's answer to these bytes ends with a reset."""
    with send(lab, data) as client:
        try:
            tcp.read_to_end(client)
        except ConnectionResetError:
            return True
        return False


@pytest.mark.mutant("programs run for as long as they like", faulty("cgi_server", "CGI_NO_TIMEOUT"))
def test_a_program_that_takes_too_long_is_killed_with_all_it_has_started(lab: Lab, deploy: Deploy) -> None:
    """It leads a process group of its own, and the signal goes to the group: its children end with it.

    The client hears of it by 504, and the server goes on.
    """
    right = lab["right"]
    with deploy("--time-limit", "0.5") as server:
        with send(lab, get("/slow")) as client:
            assert status_on(client) == 504
        assert comes_true(lambda: sleepers(right) == 0 and scripts(right, server) == [])
        assert ask(lab, "/hello").status == 200


@pytest.mark.mutant("programs that have ended stay zombies", faulty("cgi_server", "CGI_NOT_REAPED"))
def test_programs_are_reaped_however_many_end_at_once(lab: Lab, deploy: Deploy) -> None:
    """As in 13.3: one SIGCHLD may stand for many."""
    right = lab["right"]
    with deploy() as server, ExitStack() as stack:
        clients = [stack.enter_context(send(lab, get("/second"))) for _ in range(12)]
        assert [status_on(client) for client in clients] == [200] * 12
        assert comes_true(lambda: scripts(right, server) == [])
        stack.close()
        (worker,) = proc.children(right, server.pid)
        idle = len(proc.descriptors(right, worker.pid))
        assert ask(lab, "/hello").status == 200
        assert comes_true(lambda: len(proc.descriptors(right, worker.pid)) == idle)


@pytest.mark.mutant("programs run on when their client has gone", faulty("cgi_server", "CGI_ORPHANS"))
def test_a_program_ends_when_its_client_is_gone(lab: Lab, deploy: Deploy) -> None:
    """A reset tells the server that nobody waits for the answer any more."""
    right = lab["right"]
    with deploy() as server, send(lab, get("/slow")) as client:
        assert comes_true(lambda: sleepers(right) == 2)
        tcp.reset(client)
        assert comes_true(lambda: sleepers(right) == 0 and scripts(right, server) == [])


@pytest.mark.mutant("any number of programs at a time", faulty("cgi_server", "CGI_NO_LIMITS"))
def test_beyond_its_limits_the_server_says_so(lab: Lab, deploy: Deploy) -> None:
    """Programs at a time, a head's size, the time for a head: each has an answer of its own, and the rest goes on."""
    with deploy("--most-scripts", "1", "--most-head", "1024", "--idle-timeout", "0.5"):
        with send(lab, get("/slow")) as busy:
            assert comes_true(lambda: sleepers(lab["right"]) == 2)
            assert status(lab, get("/hello")) == 503
            tcp.reset(busy)
        assert status(lab, b"GET / HTTP/1.1\r\nX: " + b"x" * 2000) == 431
        assert status(lab, b"NONSENSE\r\n\r\n") == 400
        with send(lab, b"GET /hel") as client:  # and no more
            assert status_on(client) == 408
        with send(lab, b"") as client:
            assert tcp.read_to_end(client) == b""


@pytest.mark.mutant("it accepts all the same", faulty("cgi_server", "CGI_NO_ROOM"))
def test_at_its_limit_of_connections_it_lets_clients_wait(lab: Lab, deploy: Deploy) -> None:
    """Two who say nothing are all that there is room for; the third is connected by the kernel, and waits in its queue.

    It is served as soon as one of the others has gone.
    """
    with deploy("--most-connections", "2"), send(lab, b"") as first, send(lab, b""), send(lab, get("/hello")) as third:
        assert status_on(third, timeout=0.5) == 0
        first.close()
        assert status_on(third) == 200


@pytest.mark.mutant("SIGTERM ends what has begun", faulty("cgi_server", "CGI_NO_DRAIN"))
def test_what_has_begun_is_completed_before_the_server_ends(lab: Lab, deploy: Deploy) -> None:
    """SIGTERM: no new connections, idle ones are closed, and a program that runs may come to its end."""
    right = lab["right"]
    with deploy() as server, send(lab, b"") as idle, send(lab, get("/second")) as client:
        assert comes_true(lambda: len(scripts(right, server)) == 1)
        server.signal(signal.SIGTERM)
        assert comes_true(lambda: not any(one.state == "LISTEN" for one in right.sockets()))
        assert status_on(client) == 200
        assert tcp.read_to_end(client).endswith(b"at last\n")
        assert tcp.read_to_end(idle) == b""
        assert server.wait().exit_code == 0


@pytest.mark.mutant("programs run for as long as they like", faulty("cgi_server", "CGI_NO_TIMEOUT"))
def test_a_slow_reader_stops_the_program_and_nothing_else(lab: Lab, deploy: Deploy) -> None:
    """Five megabytes wait in the program, as pipe, server and socket are full; others are answered meanwhile.

    One who reads gets them all. One who never does is cut off when the program's time is over.
    """
    right = lab["right"]
    with (
        deploy("--time-limit", "3") as server,
        lab["left"].connect(right.address(), PORT, receive_buffer=4096) as client,
    ):
        client.sendall(get("/big"))
        assert comes_true(lambda: len(scripts(right, server)) == 1)
        assert len(ask(lab, "/big").body) == 5_000_000
        assert ask(lab, "/hello").status == 200
        assert comes_true(lambda: scripts(right, server) == [])


@pytest.mark.mutant("an answer that breaks off looks like a whole one", faulty("cgi_server", "CGI_NO_ABORT"))
def test_the_log_and_the_counters_say_what_was_done(lab: Lab, deploy: Deploy) -> None:
    """A line for each request, when it is over; SIGUSR1 makes the parent write what all workers have counted."""
    with deploy("--time-limit", "1") as server:
        ask(lab, "/hello")
        ask(lab, "/nothing")
        assert is_reset(lab, get("/half"))
        assert comes_true(lambda: server.stderr.count(" ms\n") == 3)
        client = lab["left"].address()
        assert f'{client} "GET /nothing" 404 ' in server.stderr
        server.signal(signal.SIGUSR1)
        assert comes_true(lambda: "{" in server.stderr)
        (line,) = [line for line in server.stderr.splitlines() if line.startswith("{")]
        assert json.loads(line) == {
            "connections": 3,
            "requests": 3,
            "scripts": 2,
            "timeouts": 1,
            "successes": 2,
            "refusals": 1,
            "failures": 0,
        }
        assert server.stop().exit_code == 0
