"""What clients and owners say to each other, however long it is and however many descriptors go with it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from lab.backends.netns.client import NetnsBackend
from lab.backends.owned import messages
from lab.errors import BackendError
from lab.wait import wait_until
from tests.small_labs import TWO_HOSTS, up

LONG = {"text": "字" * 500_000}
MANY = 60  # shells, each with a command line as long as is told of, and a program
START_MANY = f'for one in $(seq {MANY}); do sh -c "sleep 100; :" "$0" & done; wait'


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let this process get no descriptor that it has not now."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("body", [{}, LONG], ids=["short", "long"])
def test_a_message_arrives_as_it_was_sent_with_its_descriptors(body: dict[str, str]) -> None:
    ours, theirs = messages.pair()
    reader, writer = os.pipe()
    with ours, theirs, open(reader, "rb") as end:  # noqa: PTH123 - by descriptor
        messages.send(ours, body, [writer])
        os.close(writer)
        message = messages.receive(theirs)
        assert message.body == body
        (arrived,) = message.descriptors
        os.write(arrived, b"through")
        os.close(arrived)
        assert end.read() == b"through"


def test_more_descriptors_than_a_process_may_hold_are_one_clear_error_and_none_stays_open() -> None:
    ours, theirs = messages.pair()
    with ours, theirs:
        messages.send(ours, {}, [0, 0])
        with no_more_descriptors(), pytest.raises(BackendError, match="Too many open files: raise the limit"):
            messages.receive(theirs)
        messages.send(ours, {"next": 1})
        assert messages.receive(theirs).body == {"next": 1}


def test_files_and_lists_of_processes_may_be_long() -> None:
    with closing(NetnsBackend()) as backend, up(TWO_HOSTS, backend) as lab:
        lab.backend.write("left", {"/run/long": LONG["text"]})
        assert lab["left"].run("wc", "-m", "/run/long", environment={"LC_ALL": "C.UTF-8"}).stdout.split()[0] == "500000"
        with lab["left"].start("sh", "-c", START_MANY, "字" * 4000):
            wait_until(lambda: len(lab.backend.processes()) == 2 * MANY + 1, timeout=10, what="all to run")
