"""What strace writes, as calls."""

from __future__ import annotations

import pytest

from lab.probes.strace import Call, parse


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("close(3)                                = 0", Call("close", "3", 0)),
        (
            "read(5, 0x7ffd, 16)                     = -1 EAGAIN (Resource temporarily unavailable)",
            Call("read", "5, 0x7ffd, 16", -1),
        ),
        ('[pid  4711] write(1, "a) = 5\\n", 7)      = 7', Call("write", '1, "a) = 5\\n", 7', 7)),
        ('[pid  4711] <... read resumed>"x", 1)   = 1', Call("read", '"x", 1', 1)),
        ("exit_group(0)                           = ?", Call("exit_group", "0", None)),
    ],
)
def test_a_line_of_strace_is_a_call(line: str, call: Call) -> None:
    assert parse(f"strace: Process 4711 attached\n{line}\n+++ exited with 0 +++\n") == [call]


def test_a_call_that_has_not_returned_is_none_yet() -> None:
    assert parse("[pid 12] read(3, <unfinished ...>\n--- SIGTERM {si_signo=SIGTERM} ---\n") == []
