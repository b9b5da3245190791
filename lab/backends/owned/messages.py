"""What client, nursery, guard and owner say to each other: one JSON object a packet, with descriptors beside it.

The sockets are Unix ones that keep packets apart (SOCK_SEQPACKET), so nothing needs framing. What is too long for a
packet is in a file in memory, which is the packet's first descriptor.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab import errors
from lab.errors import BackendError, LabError

_MOST_DESCRIPTORS = 253  # SCM_MAX_FD, unix(7)
_LONGEST_PACKET = 64 * 1024  # bytes; the kernel takes no packet that is longer than the sender's buffer
_IN_FILE = b"@"  # no JSON begins so
_SIZE_ONLY = socket.MSG_PEEK | socket.MSG_TRUNC
_DESCRIPTOR_SPACE = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)


class ConnectionLostError(Exception):
    """The other side is gone."""


@dataclass(frozen=True, slots=True)
class Message:
    """What arrived; the receiver owns the descriptors."""

    body: dict[str, Any]
    descriptors: tuple[int, ...]


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, body: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message; the descriptors stay the sender's own.

    Raises:
        ConnectionLostError: nobody is left to receive it.
    """
    data = json.dumps(body).encode()
    if len(data) <= _LONGEST_PACKET:
        _send(channel, data, descriptors)
        return
    with open(os.memfd_create("message"), "w+b") as file:  # noqa: PTH123 - by descriptor
        file.write(data)
        file.flush()
        _send(channel, _IN_FILE, [file.fileno(), *descriptors])


def _send(channel: socket.socket, data: bytes, descriptors: Sequence[int]) -> None:
    ancillary = []
    if descriptors:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    try:
        channel.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError) as error:
        raise ConnectionLostError(str(error)) from error


def offer(channel: socket.socket, body: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message, unless the other side is gone or does not read: nobody may hold an owner up."""
    try:
        send(channel, body, descriptors)
    except (ConnectionLostError, OSError):
        return  # closed, or full: the selector sees a closed connection by itself


def receive(channel: socket.socket) -> Message:
    """Wait for one message.

    Raises:
        ConnectionLostError: the other side has closed.
        TimeoutError: the socket has a timeout, and it passed.
        BackendError: the descriptors with it are more than this process may hold.
    """
    try:
        size = channel.recv_into(bytearray(1), 1, _SIZE_ONLY)  # to make room for the largest takes long
        data, ancillary, flags, _address = channel.recvmsg(size, _DESCRIPTOR_SPACE, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError as error:
        raise ConnectionLostError(str(error)) from error
    descriptors = array.array("i")
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(value[: len(value) - len(value) % descriptors.itemsize])
    if not data or flags & socket.MSG_CTRUNC:
        for descriptor in descriptors:
            os.close(descriptor)
        if data:
            msg = f"{os.strerror(errno.EMFILE)}: raise the limit (ulimit -n, of processes: ulimit -Hn)"
            raise BackendError(msg)
        msg = "closed"
        raise ConnectionLostError(msg)
    if data == _IN_FILE:
        with open(descriptors.pop(0), "rb") as file:  # noqa: PTH123 - by descriptor
            data = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
    return Message(json.loads(data), tuple(descriptors))


def describe(error: BaseException) -> dict[str, Any]:
    """Return the message that carries an error; `check` raises it again on the other side.

    One that nobody foresaw travels with its traceback.
    """
    if isinstance(error, LabError):
        return {"error": type(error).__name__, "message": str(error)}
    trace = "".join(traceback.format_exception(error))
    return {"error": "BackendError", "message": f"the lab's owner failed: {error!r}", "traceback": trace}


def check(message: Message) -> Message:
    """Return the message, or raise the error that it carries."""
    if "error" in message.body:
        kind = getattr(errors, message.body["error"], BackendError)
        error: LabError = kind(message.body["message"])
        if "traceback" in message.body:
            error.add_note(message.body["traceback"])
        raise error
    return message
