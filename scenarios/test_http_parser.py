"""The parser of HTTP requests, a state machine that goes on where the last piece ended.

left (client) ── lan ── right (server)
"""

import re
import socket

import pytest

from lab.mutants import faulty
from lab.probes.dialogue import Dialogue
from lab.running import Lab
from lab.trace.http import Response

pytestmark = [pytest.mark.topology("two-hosts.yaml", reuse=True), pytest.mark.book("8.6")]

REQUEST = (
    b"POST /a%20b//c/../d?e=f HTTP/1.1\r\nHost: right\r\nX-Empty:\r\nX-Padded: \t two words \t\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;why=not\r\n, world\r\n0\r\n\r\n"
)
UNDERSTOOD = """\
method: POST
target: /a%20b//c/../d?e=f
path: /a b/d
query: e=f
version: HTTP/1.1
field: Host: right
field: X-Empty:\x20
field: X-Padded: two words
field: Transfer-Encoding: chunked
connection: keep-alive
"""


def in_pieces(client: Dialogue, message: bytes, size: int) -> Response | None:
    """The response to a message that goes out in segments of `size` bytes."""
    client.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for place in range(0, len(message), size):
            client.send(message[place : place + size])
    except OSError:  # it has had enough
        pass
    return client.response()


@pytest.mark.mutant("a request comes in one read or is none", faulty("http_parser", "ONE_READ"))
def test_a_request_means_the_same_in_whatever_pieces_it_comes(lab: Lab) -> None:
    """TCP keeps the order of bytes and not the borders of writes: a piece may end in the middle of a word or of CRLF.

    The parser looks at every byte once, and remembers in which state it was: in the request line, among the fields, in
    the body. The answer tells after how many reads each was complete; the rest of it is always the same.
    """
    with lab["right"].deploy("http_parser"), Dialogue(lab["left"].connect(lab["right"].address(), 80)) as client:
        for size in (len(REQUEST), 40, 7, 1):
            answer = in_pieces(client, REQUEST, size)
            assert answer and answer.status == 200, f"in pieces of {size} bytes"
            states, understood = answer.body.decode().split("method:")
            assert "method:" + understood == UNDERSTOOD
            reads = [int(count) for count in re.findall(r"after (\d+) read", states)]
            assert reads == sorted(reads) and len(reads) == 3 and "12 bytes" in states


@pytest.mark.mutant("a request comes in one read or is none", faulty("http_parser", "ONE_READ"))
def test_what_is_no_request_is_refused_as_soon_as_that_is_clear(lab: Lab) -> None:
    """It says why, and then ends the connection: nobody can tell where in the bytes a next request would begin."""
    wrong = {
        b"GET /": (400, "three parts"),
        b"G@T / HTTP/1.1": (400, "no token"),
        b"GET / HTTP/1.1x": (400, "version"),
        b"GET / HTTP/3.0": (505, "only HTTP/1"),
        b"GET / HTTP/1.1\r\nno colon": (400, "no proper name"),
        b"GET / HTTP/1.1\r\n\r\n": (400, "one Host"),
        b"GET / HTTP/1.1\r\nHost: a b\r\n": (400, "names no host"),
        b"GET / HTTP/1.0\r\nHost: right/\r\n": (400, "names no host"),
        b"GET /" + b"a" * 9_000: (414, "too long"),
        b"GET / HTTP/1.1\r\nX: " + b"a" * 17_000: (431, "too large"),
    }
    with lab["right"].deploy("http_parser"):
        for message, (status, why) in wrong.items():
            with Dialogue(lab["left"].connect(lab["right"].address(), 80)) as client:
                answer = in_pieces(client, message + b"\r\n", 3 if len(message) < 100 else 4_000)
                assert answer and answer.status == status and why in answer.body.decode(), message[:40]
                assert client.end() == "closed"
