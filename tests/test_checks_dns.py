"""The DNS predicates hold for their messages, and for no other packet."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest

from lab.checks import dns as domain
from lab.errors import UsageError
from lab.trace.packet import decode
from lab.trace.trace import Predicate
from tests import trace_packets as built

PACKETS = {name: decode(frame) for name, frame in built.samples().items()}


def names(*predicates: Predicate) -> set[str]:
    return {name for name, packet in PACKETS.items() if all(holds(packet) for holds in predicates)}


def test_queries_and_answers_are_told_apart() -> None:
    assert names(domain.is_query) == {"dns_query"}
    assert names(domain.is_answer) == {"dns_answer", "dns_tcp"}


@pytest.mark.parametrize("name", ["www.example.test", "www.example.test.", "WWW.Example.Test"])
def test_a_question_is_found_by_its_name_however_it_is_written(name: str) -> None:
    assert names(domain.asks_for(name)) == {"dns_query", "dns_answer", "dns_tcp"}


def test_a_question_for_another_name_or_kind_is_another_question() -> None:
    assert names(domain.asks_for("www.example.test", "AAAA")) == set()
    assert names(domain.asks_for("example.test")) == set()


@pytest.mark.parametrize(("name", "kind"), [("www.example.test", "NONESUCH"), ("a..b", "A"), ("x" * 64, "A")])
def test_a_question_that_cannot_be_asked_is_refused_at_once(name: str, kind: str) -> None:
    with pytest.raises(UsageError, match=f'no question for "{kind}" of "{name}" can be asked'):
        domain.asks_for(name, kind)


def test_records_are_told_one_by_one() -> None:
    assert domain.records(built.ANSWER) == [
        "www.example.test. CNAME web.example.test.",
        "web.example.test. A 10.0.2.80",
    ]


def test_the_response_code_is_told_by_its_name() -> None:
    refused = dns.message.make_response(built.QUERY)
    refused.set_rcode(dns.rcode.NXDOMAIN)
    assert domain.response_code(refused) == "NXDOMAIN"
    assert domain.response_code(built.ANSWER) == "NOERROR"
