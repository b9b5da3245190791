"""What programs of other people say of the web server: clients, load generators, an attack, and a judge of heads.

left (client) ── lan ── right (server)
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.command import search_path
from lab.mutants import faulty
from lab.process import Completed
from lab.running import Lab

HTTPLINT = str(Path(__file__).parents[1] / "build" / "httplint" / "bin" / "httplint")

pytestmark = [pytest.mark.topology("two-hosts.yaml", reuse=True), pytest.mark.book("15.6")]


@contextmanager
def serving(lab: Lab, site: Path, *arguments: str) -> Iterator[str]:
    """A web server on port 80 of right; its URL, without a slash at its end."""
    with lab["right"].deploy("web_server", "--root", str(site), "--workers", "2", *arguments):
        yield f"http://{lab['right'].address()}"


def run(lab: Lab, *arguments: str, stdin: bytes = b"") -> Completed:
    """Run a program of the client's to its end, if it has that."""
    if lab.backend.find("left", arguments[0], search_path()) is None:
        pytest.skip(
            f"{arguments[0]} is not installed (script/bootstrap tests does it), or not in the image of the node"
        )
    return lab["left"].run(*arguments, stdin=stdin)


@pytest.mark.mutant("the last byte of a range is left out", faulty("web_server", "RANGE_OFF_BY_ONE"))
def test_curl_gets_files_over_one_connection_and_resumes_what_was_broken_off(
    lab: Lab, site: Path, tmp_path: Path
) -> None:
    """What curl gets it compares with the length that was told; a download goes on where the last one ended.

    A body that is announced with "Expect: 100-continue" is not even sent when the answer is no.
    """
    content, half, sent = (site / "large.bin").read_bytes(), tmp_path / "half.bin", tmp_path / "sent.bin"
    half.write_bytes(content[: len(content) // 2])
    sent.write_bytes(bytes(500_000))
    with serving(lab, site) as url:
        told = "%{http_code} %{size_download} %{num_connects}\n"
        pages = run(lab, "curl", "-sS", "-w", told, *(["-o", "/dev/null", f"{url}/page.html"] * 3))
        assert (pages.exit_code, pages.stdout) == (0, "200 1024 1\n200 1024 0\n200 1024 0\n")
        rest = run(lab, "curl", "-sS", "-C", "-", "-o", str(half), f"{url}/large.bin")
        assert (rest.exit_code, half.read_bytes() == content) == (0, True)
        upload = ("-H", "Expect: 100-continue", "--data-binary", f"@{sent}", "-w", "%{http_code} %{size_upload}")
        refused = run(lab, "curl", "-sS", "-o", "/dev/null", *upload, f"{url}/page.html")
        assert (refused.exit_code, refused.stdout) == (0, "405 0")
        # HTTP/1.0 without Content-Length would end with the connection; here it ends in good order.
        last = run(lab, "curl", "-sS", "-0", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/large.bin")
        assert (last.exit_code, last.stdout) == (0, "200")


@pytest.mark.mutant("an empty file is never answered", faulty("web_server", "EMPTY_FILE"))
def test_wrk_counts_no_error(lab: Lab, site: Path) -> None:
    """Fifty connections for a second, kept and closed; wrk tells of every socket error and of statuses but 2xx, 3xx."""
    with serving(lab, site) as url:
        for target, header in (("/page.html", "A: b"), ("/empty.txt", "A: b"), ("/page.html", "Connection: close")):
            said = run(lab, "wrk", "-t1", "-c50", "-d1", "-H", header, url + target).check().stdout
            requests = re.search(r"(\d+) requests in", said)
            assert requests and int(requests[1]) > 50, said
            assert "Non-2xx" not in said and "Socket errors" not in said, said


@pytest.mark.mutant("what came behind a request is forgotten", faulty("web_server", "PIPELINE_LOST"))
def test_h2load_gets_an_answer_to_every_pipelined_request(lab: Lab, site: Path) -> None:
    """h2load --h1 has eight requests under way on each of ten connections, and counts what becomes of them."""
    with serving(lab, site) as url:
        many = ("--h1", "-n", "2000", "-c", "10", "-m", "8", "-N", "5")
        said = run(lab, "h2load", *many, f"{url}/page.html").check().stdout
        assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in said, said


@pytest.mark.mutant("any byte buys more time", faulty("web_server", "SLOW_LORIS"))
def test_slowhttptest_does_not_get_the_server_down(lab: Lab, site: Path) -> None:
    """Fifty connections send a field a second and no end: all are closed before the test is over.

    Meanwhile a probe of slowhttptest's own is answered.
    """
    with serving(lab, site, "--request-timeout", "1.5") as url:
        attack = ("-H", "-c", "50", "-r", "50", "-i", "1", "-l", "6", "-p", "2")
        said = run(lab, "slowhttptest", *attack, "-u", f"{url}/").stdout
        assert "No open connections left" in said and "service available:   YES" in re.sub(
            r"\x1b\[[\d;]*m", "", said
        ), said


@pytest.mark.mutant("the date is none", faulty("web_server", "BAD_DATE"))
def test_httplint_finds_nothing_wrong_with_any_head(lab: Lab, site: Path) -> None:
    """It reads a response and knows what RFC 9110 and its neighbours demand of each field."""
    requests = {
        "200": ["/page.html"],
        "206": ["/large.bin", "-r", "0-99"],
        "301": ["/sub"],
        "304": ["/page.html", "-H", "If-None-Match: *"],
        "400": ["/%zz"],
        "404": ["/none"],
        "405": ["/", "-X", "DELETE"],
        "416": ["/page.html", "-r", "9999-"],
        "501": ["/", "-X", "BREW"],
    }
    with serving(lab, site) as url:
        for status, (target, *options) in requests.items():
            response = run(lab, "curl", "-sSi", url + target, *options).check().stdout
            assert response.startswith(f"HTTP/1.1 {status} ")
            lint = run(lab, HTTPLINT, stdin=response.encode("latin-1")).check()
            assert "[BAD]" not in lint.stdout and "### Caching" in lint.stdout, f"{response}\n{lint.stdout}"
