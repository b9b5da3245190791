"""HTTP messages are read from the bytes of a connection as their receiver reads them."""

from __future__ import annotations

import pytest

from lab.checks import http
from lab.errors import LabError
from lab.trace.http import Exchange, MalformedMessageError, Response, read_requests, read_responses
from lab.trace.packet import Packet, decode
from lab.trace.trace import Trace
from tests import trace_packets as built

GET = b"GET http://www.example.test/a HTTP/1.1\r\nHost: www.example.test\r\n\r\n"
POST = b"POST /form HTTP/1.1\r\nHost: www\r\nContent-Length: 3\r\n\r\na=b"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
COUNTED = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nX-Cache: MISS\r\nx-cache: MISS from b\r\n\r\nnone"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\n\r\nall of it"
PSH_ACK, FIN_ACK = 0x18, 0x11


def responses(data: bytes, *methods: str, closed: bool = False) -> list[Response]:
    return list(read_responses(data, methods or ("GET",), closed=closed))


def test_requests_follow_each_other_on_one_connection() -> None:
    get, post = read_requests(GET + POST)
    assert (get.method, get.target, get.version, get.body) == ("GET", "http://www.example.test/a", "1.1", b"")
    assert (post.method, post.target, post.body, post.complete) == ("POST", "/form", b"a=b", True)


def test_a_header_is_found_whatever_its_case_and_all_of_its_values() -> None:
    (response,) = responses(COUNTED)
    assert response.headers == (("Content-Length", "4"), ("X-Cache", "MISS"), ("x-cache", "MISS from b"))
    assert response.header("X-CACHE") == "MISS, MISS from b"
    assert response.header("Age") is None


def test_a_chunked_body_comes_without_its_coding() -> None:
    first, second = responses(CHUNKED + COUNTED, "GET", "GET")
    assert (first.status, first.reason, first.body, first.complete) == (200, "OK", b"abcde", True)
    assert (second.status, second.reason, second.body) == (404, "Not Found", b"none")


def test_a_body_of_unsaid_length_ends_with_the_connection() -> None:
    (response,) = responses(UNTIL_CLOSE, closed=True)
    assert (response.version, response.body, response.complete) == ("1.0", b"all of it", True)
    (response,) = responses(UNTIL_CLOSE)
    assert not response.complete


@pytest.mark.parametrize("closed", [False, True])
def test_a_message_cut_off_is_incomplete(*, closed: bool) -> None:
    (response,) = responses(COUNTED[:-1], closed=closed)
    assert (response.body, response.complete) == (b"non", False)
    assert responses(COUNTED[:20], closed=closed) == []


def test_a_request_cut_off_is_incomplete() -> None:
    (post,) = read_requests(POST[:-1])
    assert (post.body, post.complete) == (b"a=", False)
    assert list(read_requests(GET[:-1])) == []


def test_the_response_to_head_has_no_body_whatever_its_length_says() -> None:
    head = COUNTED.removesuffix(b"none")
    first, second = responses(head + COUNTED, "HEAD", "GET")
    assert (first.body, first.complete) == (b"", True)
    assert second.body == b"none"


def test_an_interim_response_is_left_out() -> None:
    (response,) = responses(b"HTTP/1.1 100 Continue\r\n\r\n" + COUNTED)
    assert response.status == 404


def test_what_follows_a_tunnel_s_head_is_not_read_as_http() -> None:
    (request,) = read_requests(b"CONNECT www:443 HTTP/1.1\r\nHost: www:443\r\n\r\n\x16\x03\x01")
    assert http.target_form(request) == "authority"
    (response,) = responses(b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03\x03", "CONNECT")
    assert response.complete


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\0\0\r\n\r\n", b"NOT HTTP AT ALL, IS IT\r\n\r\n"])
def test_what_is_not_http_is_an_error_that_shows_it(data: bytes) -> None:
    with pytest.raises(MalformedMessageError, match=r"not HTTP \(.+\): b'") as caught:
        list(read_requests(data))
    assert isinstance(caught.value, LabError)
    with pytest.raises(MalformedMessageError, match=r"not HTTP \(.+\): b'"):
        responses(data)


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("GET /index.html", "origin"),
        ("GET http://www.example.test/", "absolute"),
        ("OPTIONS *", "asterisk"),
        ("CONNECT www.example.test:443", "authority"),
    ],
)
def test_a_target_has_one_of_four_forms(line: str, form: str) -> None:
    (request,) = read_requests(f"{line} HTTP/1.1\r\nHost: www.example.test\r\n\r\n".encode())
    assert http.target_form(request) == form


def sent(data: bytes, seq: int, *, port: int, flags: int = PSH_ACK) -> Packet:
    return decode(built.tcp4(data, seq=seq, flags=flags, ports=(43210, port)))


def answered(data: bytes, seq: int, *, port: int, flags: int = PSH_ACK) -> Packet:
    ports, ends = (port, 43210), {"src": built.WEB, "dst": built.HOST}
    return decode(built.tcp4(data, seq=seq, flags=flags, ports=ports, **ends))


def test_the_exchanges_of_a_port_are_paired_in_order() -> None:
    trace = Trace(
        (
            sent(GET, 1, port=80),
            answered(CHUNKED, 1, port=80),
            sent(POST, 1 + len(GET), port=80),
            answered(COUNTED, 1 + len(CHUNKED), port=80),
            sent(b"any thing else\r\n\r\n", 1, port=7),
        )
    )
    first, second = http.exchanges(trace, port=80)
    assert first.response
    assert second.response
    assert (first.request.method, first.response.status) == ("GET", 200)
    assert (second.request.method, second.response.status) == ("POST", 404)
    with pytest.raises(MalformedMessageError):
        http.exchanges(trace, port=7)
    assert http.exchanges(trace, port=8080) == ()


def test_a_request_without_an_answer_stands_alone() -> None:
    (request,) = read_requests(GET)
    assert http.exchanges(Trace((sent(GET, 1, port=80),)), port=80) == (Exchange(request, None),)


def test_the_fin_in_the_trace_ends_a_body_of_unsaid_length() -> None:
    trace = Trace((sent(GET, 1, port=80), answered(UNTIL_CLOSE, 1, port=80, flags=FIN_ACK)))
    (exchange,) = http.exchanges(trace, port=80)
    assert exchange.response
    assert exchange.response.complete
