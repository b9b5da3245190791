"""DNS messages in packets, read by dnspython.

dnspython takes longer to load than all the rest of `lab.trace`, so it is imported where a message is met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dns.message

    from lab.trace.packet import Packet

PORT = 53

_RESPONSE = 0x8000
_MOST_RECORDS = 8
_LONGEST_RECORD = 100


def is_domain(packet: Packet) -> bool:
    """Whether the packet has a payload from or to the DNS port."""
    transport = packet.udp or packet.tcp
    if transport is None or not packet.payload_length:
        return False
    return PORT in {transport.source_port, transport.destination_port}


def decode(packet: Packet) -> dns.message.Message | None:
    """Return the packet's message; None where its payload is not one whole and well-formed message.

    Over TCP that is one segment which holds the message's length and all of it (RFC 1035, section 4.2.2).
    """
    if not is_domain(packet):
        return None
    wire = packet.payload
    if packet.tcp is not None:
        if len(wire) - 2 != int.from_bytes(wire[:2], "big"):
            return None
        wire = wire[2:]

    import dns.exception  # noqa: PLC0415 - slow to load
    import dns.message  # noqa: PLC0415 - slow to load

    try:
        return dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return None


def text(message: dns.message.Message) -> str:
    """Return `dns query id 7 A web.test.` or `dns answer id 7 NOERROR A web.test. = A 10.0.2.80`."""
    import dns.rcode  # noqa: PLC0415 - slow to load
    import dns.rdatatype  # noqa: PLC0415 - slow to load

    question = ", ".join(f"{dns.rdatatype.to_text(entry.rdtype)} {entry.name}" for entry in message.question)
    if not message.flags & _RESPONSE:
        return f"dns query id {message.id} {question}"
    records = [
        f"{dns.rdatatype.to_text(answer.rdtype)} {record}"[:_LONGEST_RECORD]
        for answer in message.answer
        for record in answer
    ]
    more = [f"and {len(records) - _MOST_RECORDS} more"] if len(records) > _MOST_RECORDS else []
    answer = f" = {', '.join(records[:_MOST_RECORDS] + more)}" if records else ""
    return f"dns answer id {message.id} {dns.rcode.to_text(message.rcode())} {question}{answer}"
