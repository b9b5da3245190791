"""A web server: what it answers to which request (RFC 9110, RFC 9112).

left (client) ── lan ── right (server)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest

from lab.mutants import faulty
from lab.probes import http
from lab.probes.dialogue import Dialogue
from lab.running import Lab
from lab.trace.http import Headers, Response

pytestmark = [pytest.mark.topology("two-hosts.yaml", reuse=True), pytest.mark.book("15.6")]


@contextmanager
def serving(lab: Lab, site: Path, *arguments: str) -> Iterator[None]:
    """A web server on port 80 of right."""
    with lab["right"].deploy("web_server", "--root", str(site), *arguments):
        yield


def ask(lab: Lab, message: bytes) -> Response | None:
    """The response to one request on a connection of its own."""
    with Dialogue(lab["left"].connect(lab["right"].address(), 80)) as dialogue:
        return dialogue.ask(message)


def status(lab: Lab, message: bytes) -> int:
    """The status of a response, 0 if none came."""
    response = ask(lab, message)
    return response.status if response else 0


def get(target: str, *headers: tuple[str, str]) -> bytes:
    return http.request("GET", target, host="web", headers=headers)


@pytest.mark.mutant("an empty file is never answered", faulty("web_server", "EMPTY_FILE"))
def test_a_file_comes_as_it_is_with_its_length_and_its_type(lab: Lab, site: Path) -> None:
    """A path is decoded, its empty and dotted steps are dropped, and a query is no part of it.

    A folder means its index.html. An empty file has an answer too: a head and nothing. The book's server maps a file
    into memory, which for an empty one is an error, and its client waits for ever.
    """
    files = {
        "/": ("index.html", "text/html; charset=utf-8"),
        "/sub/": ("sub/index.html", "text/html; charset=utf-8"),
        "/page.html?a=b/../c": ("page.html", "text/html; charset=utf-8"),
        "//sub/.//../page.html": ("page.html", "text/html; charset=utf-8"),
        "/%70age%2ehtml": ("page.html", "text/html; charset=utf-8"),
        "/a%20b+c.txt": ("a b+c.txt", "text/plain; charset=utf-8"),
        "/link-in.html": ("page.html", "text/html; charset=utf-8"),
        "http://web/page.html": ("page.html", "text/html; charset=utf-8"),
        "/large.bin": ("large.bin", "application/octet-stream"),
        "/empty.txt": ("empty.txt", "text/plain; charset=utf-8"),
    }
    with serving(lab, site):
        for target, (name, kind) in files.items():
            response, content = ask(lab, get(target)), (site / name).read_bytes()
            assert response, f"nothing came for {target}"
            assert (response.status, response.header("Content-Type")) == (200, kind), target
            assert response.header("Content-Length") == str(len(content)) and response.body == content, target


@pytest.mark.mutant("paths are opened as they come", faulty("web_server", "TRAVERSAL"))
@pytest.mark.mutant("dots are looked for before decoding", faulty("web_server", "ENCODED_TRAVERSAL"))
@pytest.mark.mutant("links are followed anywhere", faulty("web_server", "FOLLOWS_LINKS"))
def test_nothing_outside_of_the_root_is_served_however_it_is_asked_for(lab: Lab, site: Path) -> None:
    """A server runs with rights that its clients have not: "/../secret.txt" must not leave its folder, nor must a link.

    The book's server puts the path behind its root's name and opens what comes out. Here dots are looked for in the
    path as it is decoded, and the kernel itself refuses a step out of the root (openat2(2), RESOLVE_BENEATH).
    """
    ways = {
        "/../secret.txt": 403,
        "/sub/../../secret.txt": 403,
        "/%2e%2e/secret.txt": 403,
        "/..%2fsecret.txt": 403,
        "/%2E./secret.txt": 403,
        "/link-out.txt": 403,
        "/link-absolute.txt": 403,
        "/link-up/secret.txt": 403,
        "//etc/passwd": 404,
        "/%2fetc/passwd": 404,
        "/%252e%252e/secret.txt": 404,
        "/page.html%00.txt": 400,
        "/%zz": 400,
        "/bare/": 403,
        "/page.html/": 404,
        "/none": 404,
        "/" + "n" * 300: 404,
    }
    with serving(lab, site):
        assert {way: status(lab, get(way)) for way in ways} == ways


@pytest.mark.mutant("HEAD is answered with the content", faulty("web_server", "HEAD_BODY"))
def test_head_has_the_head_of_get_and_no_content(lab: Lab, site: Path) -> None:
    """The length is that of the content that GET would bring.

    A server that sends the content all the same puts it where the client looks for the next response.
    """
    with serving(lab, site), Dialogue(lab["left"].connect(lab["right"].address(), 80)) as dialogue:
        for target, size in (("/page.html", 1024), ("/large.bin", 5 << 20), ("/empty.txt", 0)):
            head = dialogue.ask(http.request("HEAD", target, host="web"))
            whole = dialogue.ask(get(target))
            assert head and whole, target
            assert dict(head.headers) | {"Date": ""} == dict(whole.headers) | {"Date": ""}
            assert head.body == b"" and len(whole.body) == size


@pytest.mark.mutant("any method is served", faulty("web_server", "ANY_METHOD"))
def test_a_method_that_is_known_is_not_allowed_and_others_are_not_implemented(lab: Lab, site: Path) -> None:
    """Files are for GET and HEAD: 405 says so, and with Allow what is possible.

    501 is for what the server does not know at all. Methods are case-sensitive: "get" is one of those.
    """
    methods = {"POST": 405, "PUT": 405, "DELETE": 405, "OPTIONS": 405, "TRACE": 405, "BREW": 501, "get": 501}
    with serving(lab, site):
        answers = {name: ask(lab, http.request(name, "/", host="web", body=b"x")) for name in methods}
    assert {name: answer and answer.status for name, answer in answers.items()} == methods
    assert all(
        answer and answer.header("Allow") == "GET, HEAD"
        for name, answer in answers.items()
        if name not in {"BREW", "get"}
    )


@pytest.mark.mutant("a folder is served under two names", faulty("web_server", "NO_REDIRECT"))
def test_a_folder_without_its_slash_moves_the_client_to_where_its_links_are_right(lab: Lab, site: Path) -> None:
    """On a page at "/sub" a link to "x.html" means "/x.html", at "/sub/" it means "/sub/x.html".

    So the first is answered with 301, and the query goes along.
    """
    with serving(lab, site):
        response = ask(lab, get("/sub?a=b"))
        assert response and (response.status, response.header("Location")) == (301, "/sub/?a=b")


@pytest.mark.mutant("conditions are not looked at", faulty("web_server", "NO_CONDITIONS"))
def test_what_the_client_has_already_is_not_sent_again(lab: Lab, site: Path) -> None:
    """304 comes instead of content that is not newer than If-Modified-Since, in any of the three forms of a date.

    Or that has the entity tag of If-None-Match, which goes first. If-Match is the other way round: 412.
    """
    with serving(lab, site):
        first = ask(lab, get("/page.html"))
        assert first
        modified, tag = first.header("Last-Modified") or "", first.header("ETag") or ""
        before = formatdate((site / "page.html").stat().st_mtime - 1, usegmt=True)
        cases: tuple[tuple[int, Headers], ...] = (
            (304, (("If-Modified-Since", modified),)),
            (304, (("If-None-Match", f'"other", W/{tag}'),)),
            (304, (("If-None-Match", "*"),)),
            (200, (("If-None-Match", '"other"'), ("If-Modified-Since", modified))),
            (200, (("If-Modified-Since", before),)),
            (200, (("If-Modified-Since", "Sunday, 06-Nov-94 08:49:37 GMT"),)),
            (200, (("If-Modified-Since", "Sun Nov  6 08:49:37 1994"),)),
            (200, (("If-Modified-Since", "yesterday"),)),
            (412, (("If-Match", '"other"'),)),
            (412, (("If-Unmodified-Since", before),)),
            (200, (("If-Match", tag),)),
        )
        answers = [ask(lab, get("/page.html", *headers)) for _, headers in cases]
        assert [(answer and answer.status) for answer in answers] == [wanted for wanted, _ in cases]
        assert all(answer and not answer.body and answer.header("ETag") == tag for answer in answers[:3])


@pytest.mark.mutant("the last byte of a range is left out", faulty("web_server", "RANGE_OFF_BY_ONE"))
def test_a_range_brings_these_bytes_and_no_others(lab: Lab, site: Path) -> None:
    """First and last byte count from zero and are both meant; "-5" is the last five.

    What begins behind the end is 416 with the length. Nonsense, several ranges, and a range of a file that has changed
    since (If-Range) bring the whole. A file of 5 GiB has bytes that 32 bits cannot count.
    """
    content, huge = (site / "large.bin").read_bytes(), 5 << 30
    size = len(content)
    ranges = {
        "bytes=0-0": (206, f"bytes 0-0/{size}", content[:1]),
        "bytes=1000-1999": (206, f"bytes 1000-1999/{size}", content[1000:2000]),
        "bytes=-5": (206, f"bytes {size - 5}-{size - 1}/{size}", content[-5:]),
        f"bytes={size - 2}-": (206, f"bytes {size - 2}-{size - 1}/{size}", content[-2:]),
        "bytes=100-99999999": (206, f"bytes 100-{size - 1}/{size}", content[100:]),
        f"bytes={size}-": (416, f"bytes */{size}", None),
        "bytes=-0": (416, f"bytes */{size}", None),
        "bytes=5-4": (200, None, content),
        "bytes=0-1,3-4": (200, None, content),
        "lines=1-2": (200, None, content),
    }
    with serving(lab, site):
        for wanted, (code, said, part) in ranges.items():
            response = ask(lab, get("/large.bin", ("Range", wanted)))
            assert response and (response.status, response.header("Content-Range")) == (code, said), wanted
            assert part is None or response.body == part, wanted
        stale = ask(lab, get("/large.bin", ("Range", "bytes=0-9"), ("If-Range", '"other"')))
        assert stale and (stale.status, len(stale.body)) == (200, size)
        far = ask(lab, get("/huge.bin", ("Range", f"bytes={huge - 20_000}-")))
        assert far and far.header("Content-Range") == f"bytes {huge - 20_000}-{huge - 1}/{huge}"
        assert far.body == bytes(20_000)


@pytest.mark.mutant("it closes on what is unread", faulty("web_server", "FULL_BUFFER_RST"))
def test_what_is_no_request_gets_an_answer_that_says_why_and_the_end(lab: Lab, site: Path) -> None:
    """After a request that cannot be understood nobody knows where the next one begins: the answer is the last one.

    It must arrive. To close a socket while something in it is unread resets the connection, and a reset may overtake
    the answer in the client; so the server says its end, and reads on for a while before it closes.
    """
    requests = {
        b"nonsense\r\n\r\n": 400,
        b"GET / HTTP/1.1\r\n\r\n": 400,  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n": 400,
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n": 400,
        b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n": 400,
        b"GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n": 400,
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n": 400,
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n": 400,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab": 400,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\n": 411,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + bytes(500_000): 413,
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n": 414,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000: 431,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 150 + b"\r\n": 431,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n": 501,
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n": 505,
    }
    with serving(lab, site):
        for request, wanted in requests.items():
            with Dialogue(lab["left"].connect(lab["right"].address(), 80)) as dialogue:
                answer = dialogue.ask(request + b"rest")
                assert answer and answer.status == wanted, request[:80]
                assert (answer.header("Connection"), dialogue.end()) == ("close", "closed"), request[:80]
