"""Becomes a program that may have neither TAP devices nor packet sockets, as in some containers.

`python -P -m tests.without_wires PROGRAM [ARGUMENT...]`; what the program starts may not either (seccomp(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from collections.abc import Sequence

_SOCKET_AND_IOCTL = {"x86_64": (41, 16), "aarch64": (198, 29)}  # the numbers of the system calls
_TUNSETIFF = 0x400454CA
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _FIRST, _SECOND = 0, 16, 24  # places in struct seccomp_data: of the call's number and its arguments
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


def is_possible() -> bool:
    """Whether this machine's system calls are known here."""
    return platform.machine() in _SOCKET_AND_IOCTL


def forbid() -> None:
    """Refuse both to this process from now on."""
    socket_call, ioctl_call = _SOCKET_AND_IOCTL[platform.machine()]
    program = [
        _instruction(_LOAD, _NUMBER),
        _instruction(_JUMP_IF_EQUAL, socket_call, 2, 0),
        _instruction(_JUMP_IF_EQUAL, ioctl_call, 3, 0),
        _instruction(_RETURN, _ALLOW),
        _instruction(_LOAD, _FIRST),
        _instruction(_JUMP_IF_EQUAL, socket.AF_PACKET, 3, 2),
        _instruction(_LOAD, _SECOND),
        _instruction(_JUMP_IF_EQUAL, _TUNSETIFF, 1, 0),
        _instruction(_RETURN, _ALLOW),
        _instruction(_RETURN, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    _prctl(_NO_NEW_PRIVILEGES, 1)
    _prctl(_SET_SECCOMP, _FILTER, ctypes.addressof(header))


def _instruction(code: int, value: int, if_so: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_so, otherwise, value)


def _prctl(option: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    values = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *values):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(arguments: Sequence[str]) -> None:
    """Become the program."""
    forbid()
    os.execvp(arguments[0], list(arguments))  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
