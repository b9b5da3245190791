"""The DNS probe asks one question, and returns the answer to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rrset
import pytest

from lab.checks.dns import records
from lab.errors import ProbeError
from lab.probes import dns as probe

Answering = Callable[[dns.message.Message], bytes]


@contextmanager
def server(answering: Answering) -> Iterator[tuple[socket.socket, int]]:
    """Give a client's socket, and the port of a server that answers one query."""
    with (
        socket.socket(type=socket.SOCK_DGRAM) as listener,
        socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)

        def run() -> None:
            query, sender = listener.recvfrom(4096)
            listener.sendto(answering(dns.message.from_wire(query)), sender)

        thread = threading.Thread(target=run)
        thread.start()
        yield client, listener.getsockname()[1]
        thread.join()


def echo_question(query: dns.message.Message) -> bytes:
    """Answer with the question's own name, and 10.0.0.1 where an address is asked for."""
    answer = dns.message.make_response(query)
    (question,) = query.question
    value = "10.0.0.1" if question.rdtype == 1 else "host.test."
    answer.answer = [dns.rrset.from_text(question.name, 60, "IN", question.rdtype, value)]
    return answer.to_wire()


@pytest.mark.parametrize(
    ("name", "kind", "record"),
    [
        ("www.example.test", "A", "www.example.test. A 10.0.0.1"),
        ("10.0.2.80", "PTR", "80.2.0.10.in-addr.arpa. PTR host.test."),
        ("80.2.0.10.in-addr.arpa.", "PTR", "80.2.0.10.in-addr.arpa. PTR host.test."),
    ],
)
def test_the_question_reaches_the_server_and_its_answer_comes_back(name: str, kind: str, record: str) -> None:
    with server(echo_question) as (client, port):
        answer = probe.ask(client, "127.0.0.1", name, kind, port=port)
    assert records(answer) == [record]


def test_a_query_asks_for_recursion_as_a_resolver_s_does() -> None:
    seen: list[int] = []

    def note(query: dns.message.Message) -> bytes:
        seen.append(query.flags)
        return echo_question(query)

    with server(note) as (client, port):
        probe.ask(client, "127.0.0.1", "www.test", port=port)
    assert seen == [dns.flags.RD]


def test_bytes_that_are_no_answer_are_an_error() -> None:
    with server(lambda _query: b"junk") as (client, port), pytest.raises(ProbeError, match=r"A www\.test: "):
        probe.ask(client, "127.0.0.1", "www.test", port=port)


def test_silence_is_an_error_that_names_the_server() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent, socket.socket(type=socket.SOCK_DGRAM) as client:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with pytest.raises(ProbeError, match=r"no answer from 127\.0\.0\.1 to A www\.test: "):
            probe.ask(client, "127.0.0.1", "www.test", port=port, timeout=0.05)
