"""HTTP/1.0 and 1.1 messages (RFC 9110, RFC 9112), read by h11 from the bytes of a connection.

h11 is imported where a message is met: most traces have none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.trace import stream
from lab.trace.trace import Conversation

if TYPE_CHECKING:
    import h11

_SHOWN = 60  # bytes of what is not HTTP in an error

Headers = tuple[tuple[str, str], ...]
"""(name, value) as sent, in the order sent."""


class MalformedMessageError(LabError):
    """Bytes that are no HTTP message; says why, and shows how they begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What requests and responses have in common.

    Attributes:
        version: "1.1", say.
        body: without the transfer coding.
        complete: whether the message had ended; without it `body` may be a part.
    """

    version: str
    headers: Headers
    body: bytes
    complete: bool

    def header(self, name: str) -> str | None:
        """Return a header's value, all of them joined by commas if it was sent several times; None without one."""
        values = [value for found, value in self.headers if found.lower() == name.lower()]
        return ", ".join(values) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Message):
    """A request.

    Attributes:
        target: as sent; its form tells whom the client believed to speak to (RFC 9112, section 3.2).
    """

    method: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Message):
    """A final response; interim ones (1xx) before it are left out."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response, None where none was seen."""

    request: Request
    response: Response | None


def exchanges(conversation: Conversation) -> tuple[Exchange, ...]:
    """Return the exchanges of one connection, up to where it becomes a tunnel (CONNECT).

    Raises:
        IncompleteStreamError: the capture has gaps.
        MalformedMessageError: what was sent is not HTTP.
    """
    sent = stream.reassemble(conversation.from_client)
    received = stream.reassemble(conversation.from_server)
    requests = tuple(read_requests(sent.data))
    responses = read_responses(received.data, (request.method for request in requests), closed=received.closed)
    return tuple(Exchange(request, response) for request, response in zip_longest(requests, responses))


def read_requests(data: bytes) -> Iterator[Request]:
    """Yield the requests that a client sent on one connection.

    Raises:
        MalformedMessageError: it sent something else.
    """
    import h11  # noqa: PLC0415 - few traces need it

    while data:
        reading = _Reading(h11.Connection(h11.SERVER))
        reading.feed(data)
        head = reading.head
        if not isinstance(head, h11.Request):
            return
        yield Request(
            method=head.method.decode(),
            target=head.target.decode(),
            version=head.http_version.decode(),
            headers=_headers(head),
            body=bytes(reading.body),
            complete=reading.complete,
        )
        if not reading.complete or head.method == b"CONNECT":
            return
        data = reading.rest


def read_responses(data: bytes, methods: Iterable[str], *, closed: bool) -> Iterator[Response]:
    """Yield the responses that a server sent on one connection.

    Args:
        methods: of the requests that they answer.
        closed: nothing follows.

    Raises:
        MalformedMessageError: it sent something else.
    """
    for method in methods:
        if not data:
            return
        reader = ResponseReader(method)
        reader.feed(data)
        if closed:
            reader.end()
        if reader.response is None:
            return
        yield reader.response
        data = reader.rest


class ResponseReader:
    """Reads one response from its bytes, as they come."""

    def __init__(self, method: str) -> None:
        """`method` is the request's: a response to HEAD has no body, whatever its header says."""
        import h11  # noqa: PLC0415 - few traces need it

        connection = h11.Connection(h11.CLIENT)
        # Only these two change how a response is read, and h11 sends no method that is malformed.
        framing = method if method in {"HEAD", "CONNECT"} else "GET"
        connection.send(h11.Request(method=framing, target="/", headers=[("Host", "any")]))
        connection.send(h11.EndOfMessage())
        self._reading = _Reading(connection)

    def feed(self, data: bytes) -> None:
        """Take what came next.

        Raises:
            MalformedMessageError: it is not HTTP.
        """
        self._reading.feed(data)

    def end(self) -> None:
        """Take note that nothing more comes, which is how a body of unsaid length ends."""
        self._reading.end()

    @property
    def response(self) -> Response | None:
        """The response as far as it has come; None before its head is there."""
        import h11  # noqa: PLC0415 - few traces need it

        head = self._reading.head
        if not isinstance(head, h11.Response):
            return None
        return Response(
            status=head.status_code,
            reason=head.reason.decode("latin-1"),
            version=head.http_version.decode(),
            headers=_headers(head),
            body=bytes(self._reading.body),
            complete=self.complete,
        )

    @property
    def complete(self) -> bool:
        """Whether the response has ended."""
        return self._reading.complete

    @property
    def rest(self) -> bytes:
        """What came behind the response."""
        return self._reading.rest


class _Reading:
    """One message, read by h11 as its bytes come."""

    def __init__(self, connection: h11.Connection) -> None:
        self._connection = connection
        self._beginning = b""
        self.head: h11.Request | h11.Response | None = None
        self.body = bytearray()
        self.complete = False

    @property
    def rest(self) -> bytes:
        """What came behind the message; empty as long as it is not complete."""
        return self._connection.trailing_data[0] if self.complete else b""

    def feed(self, data: bytes) -> None:
        if not data:
            return  # which would be the end for h11
        import h11  # noqa: PLC0415 - few traces need it

        self._beginning = self._beginning or data[:_SHOWN]
        try:
            self._advance(data)
        except h11.RemoteProtocolError as error:
            msg = f"not HTTP ({error}): {self._beginning!r}"
            raise MalformedMessageError(msg) from error

    def end(self) -> None:
        import h11  # noqa: PLC0415 - few traces need it

        with contextlib.suppress(h11.RemoteProtocolError):  # cut off: it stays incomplete
            self._advance(b"")

    def _advance(self, data: bytes) -> None:
        import h11  # noqa: PLC0415 - few traces need it

        self._connection.receive_data(data)
        while not self.complete:
            event = self._connection.next_event()
            if isinstance(event, h11.Request | h11.Response):
                self.head = event
            elif isinstance(event, h11.Data):
                self.body += event.data
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return
            elif not isinstance(event, h11.InformationalResponse):
                # The message ended, or its head opened a tunnel (CONNECT), where h11 leaves off.
                self.complete = True


def _headers(head: h11.Request | h11.Response) -> Headers:
    return tuple((name.decode(), value.decode("latin-1")) for name, value in head.headers.raw_items())
