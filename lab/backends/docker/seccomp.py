"""The filter of system calls that Docker gives a container (seccomp(2)), for programs that are started from outside."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct

_SEIZE, _INTERRUPT, _DETACH, _GET_FILTER = 0x4206, 0x4207, 17, 0x420C  # ptrace(2)
_ALL_CHILDREN = 0x40000000  # __WALL: a tracee is none of the usual ones
_SET_SECCOMP, _MODE_FILTER = 22, 2  # prctl(2)
_INSTRUCTION_SIZE = 8  # struct sock_filter
_COUNT = struct.Struct("=I")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def filters_of(process: int) -> bytes:
    """Return the filters of a process, the last first: how many instructions each has, and these.

    The process stands still for a moment.

    Raises:
        OSError: the kernel does not tell: it was built without CONFIG_CHECKPOINT_RESTORE, or this process has a filter.
    """
    _ptrace(_SEIZE, process)
    try:
        _ptrace(_INTERRUPT, process)
        os.waitpid(process, _ALL_CHILDREN)
        found = b""
        for number in range(1 << 16):
            try:
                count = _ptrace(_GET_FILTER, process, number)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINVAL):  # no further one, or none at all
                    break
                raise
            memory = ctypes.create_string_buffer(count * _INSTRUCTION_SIZE)
            _ptrace(_GET_FILTER, process, number, memory)
            found += _COUNT.pack(count) + memory.raw
        return found
    finally:
        _ptrace(_DETACH, process)


def apply(filters: bytes) -> None:
    """Put filters, as `filters_of` returns them, on the calling process, which can get no new privileges any more.

    Raises:
        OSError: the kernel refuses.
    """
    programs = []
    while filters:
        (count,) = _COUNT.unpack_from(filters)
        end = _COUNT.size + count * _INSTRUCTION_SIZE
        programs.append((count, filters[_COUNT.size : end]))
        filters = filters[end:]
    for count, instructions in reversed(programs):
        memory = ctypes.create_string_buffer(instructions)
        program = struct.pack("HP", count, ctypes.addressof(memory))  # struct sock_fprog
        _check(_libc().prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(program), 0, 0), "prctl: a filter")


def _ptrace(request: int, process: int, address: int = 0, data: ctypes.Array[ctypes.c_char] | None = None) -> int:
    pointer = ctypes.c_void_p(ctypes.addressof(data) if data is not None else None)
    return _check(_libc().ptrace(request, process, ctypes.c_void_p(address), pointer), f"ptrace {request:#x}")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
