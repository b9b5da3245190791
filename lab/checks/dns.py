"""DNS messages (RFC 1035); `capture.trace.where(dns.is_query, dns.asks_for("www.example.test"))`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.errors import UsageError
from lab.trace.packet import Packet
from lab.trace.trace import Predicate

if TYPE_CHECKING:
    from dns.message import Message

_RESPONSE = 0x8000


def is_query(packet: Packet) -> bool:
    """Whether the packet asks."""
    message = packet.dns
    return message is not None and not message.flags & _RESPONSE


def is_answer(packet: Packet) -> bool:
    """Whether the packet answers, even if only that there is no answer."""
    message = packet.dns
    return message is not None and bool(message.flags & _RESPONSE)


def asks_for(name: str, kind: str = "A") -> Predicate:
    """Make a predicate: the packet's question, in a query or an answer, is for a name's records of a kind.

    Args:
        name: complete, with or without the dot at its end; capitals do not matter.

    Raises:
        UsageError: there is no such kind, or `name` cannot be one.
    """
    import dns.exception  # noqa: PLC0415 - slow to load
    import dns.name  # noqa: PLC0415 - slow to load
    import dns.rdatatype  # noqa: PLC0415 - slow to load

    try:
        wanted = dns.name.from_text(name), dns.rdatatype.from_text(kind)
    except dns.exception.DNSException as error:
        msg = f'no question for "{kind}" of "{name}" can be asked: {error}'
        raise UsageError(msg) from error

    def is_asked_for(packet: Packet) -> bool:
        message = packet.dns
        return message is not None and wanted in [(asked.name, asked.rdtype) for asked in message.question]

    return is_asked_for


def records(message: Message) -> list[str]:
    """Return the answer's records in its order, as "www.example.test. A 10.0.2.80"."""
    import dns.rdatatype  # noqa: PLC0415 - slow to load

    return [
        f"{answer.name} {dns.rdatatype.to_text(answer.rdtype)} {record}"
        for answer in message.answer
        for record in answer
    ]


def response_code(message: Message) -> str:
    """Return "NOERROR", "NXDOMAIN"."""
    import dns.rcode  # noqa: PLC0415 - slow to load

    return dns.rcode.to_text(message.rcode())
