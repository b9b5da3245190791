"""Programs in nodes: what they write, how they end, how they are ended."""

from __future__ import annotations

import gc
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.backends.fake import Answer
from lab.errors import CommandError, UsageError, WaitTimeoutError
from lab.process import Completed
from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.wait import wait_until
from tests.small_labs import TWO_HOSTS, fake_lab, up

STUBBORN = ("sh", "-c", 'trap "" TERM; echo ready; while :; do sleep 60; done')
FLOOD = 21_000_000


@pytest.fixture
def lab(labs: Labs) -> Iterator[Lab]:
    with up(TWO_HOSTS, labs.backend) as made:
        yield made


def test_output_is_read_while_the_program_runs(lab: Lab) -> None:
    process = lab["left"].start("sh", "-c", "echo one; sleep 60")
    wait_until(lambda: process.stdout == "one\n", timeout=5, what="the first line")
    assert process.exit_code is None


def test_reading_output_leaves_it_where_it_is(lab: Lab) -> None:
    process = lab["left"].start("sh", "-c", "for number in 1 2 3 4 5 6 7 8 9; do echo $number; done")
    while process.exit_code is None:
        assert "123456789".startswith(process.stdout.replace("\n", ""))
    assert process.stdout == process.stdout == "1\n2\n3\n4\n5\n6\n7\n8\n9\n"


def test_a_flood_of_output_blocks_nobody_and_is_kept_whole(lab: Lab) -> None:
    done = lab["left"].run("sh", "-c", f"yes | head -c {FLOOD}; yes no | head -c {FLOOD} >&2")
    assert (len(done.stdout), len(done.stderr)) == (FLOOD, FLOOD)
    assert done.stderr.endswith("no\nno\n")


def test_a_large_input_is_read_whole(lab: Lab) -> None:
    assert lab["left"].run("wc", "-c", stdin=b"x" * FLOOD).stdout == f"{FLOOD}\n"


def test_output_that_is_no_text_is_shown_as_far_as_it_is(lab: Lab) -> None:
    assert lab["left"].run("printf", r"caf\303\251 \377").stdout == "café \N{REPLACEMENT CHARACTER}"


def test_output_can_be_read_when_the_lab_is_down(labs: Labs) -> None:
    with up(TWO_HOSTS, labs.backend) as made:
        process = made["left"].start("sh", "-c", "echo last words; echo complaint >&2; exit 3")
        process.wait()
    assert (process.stdout, process.stderr, process.exit_code) == ("last words\n", "complaint\n", 3)


def test_a_program_that_takes_too_long_goes_on_and_the_error_says_what_it_wrote(lab: Lab) -> None:
    process = lab["left"].start("sh", "-c", "echo working; sleep 60")
    wait_until(lambda: process.stdout == "working\n", timeout=5, what="the line")
    with pytest.raises(WaitTimeoutError, match=r"left: sh -c .* still runs after 0\.01 s; it wrote: working") as caught:
        process.wait(0.01)
    assert "\n" not in str(caught.value)
    assert process.exit_code is None


def test_the_error_says_if_nothing_was_written(lab: Lab) -> None:
    with pytest.raises(WaitTimeoutError, match="it wrote: nothing"):
        lab["left"].start("sleep", "60").wait(0.01)


def test_run_ends_a_program_that_takes_too_long(lab: Lab) -> None:
    with pytest.raises(WaitTimeoutError, match="left: sleep 60 still runs"):
        lab["left"].run("sleep", "60", timeout=0.01)
    assert lab.backend.processes() == []


def test_stop_asks_first(lab: Lab) -> None:
    process = lab["left"].start("sh", "-c", 'trap "echo bye; exit 4" TERM; echo ready; while :; do sleep 0.01; done')
    wait_until(lambda: process.stdout == "ready\n", timeout=5, what="the trap to be set")
    done = process.stop()
    assert (done.exit_code, done.stdout) == (4, "ready\nbye\n")


def test_stop_kills_a_program_that_ignores_it(lab: Lab) -> None:
    process = lab["left"].start(*STUBBORN)
    wait_until(lambda: process.stdout == "ready\n", timeout=5, what="the trap to be set")
    assert process.stop(timeout=0.05).exit_code == -signal.SIGKILL
    wait_until(lambda: lab.backend.processes() == [], timeout=5, what="its children to end too")


def test_stopping_what_has_ended_says_how_it_ended(lab: Lab) -> None:
    process = lab["left"].start("sh", "-c", "exit 5")
    process.wait()
    assert process.stop().exit_code == 5
    assert process.stop().exit_code == 5


def test_leaving_the_block_stops_the_program(lab: Lab) -> None:
    with lab["left"].start("sleep", "60") as process:
        assert process.exit_code is None
    assert process.exit_code == -signal.SIGTERM


def test_a_signal_reaches_the_programs_children(lab: Lab) -> None:
    process = lab["left"].start("sh", "-c", "sleep 60 & sleep 60; true")
    wait_until(lambda: len(lab.backend.processes()) == 3, timeout=5, what="both children")
    process.stop()
    wait_until(lambda: lab.backend.processes() == [], timeout=5, what="both children to end")


def test_a_folder_that_the_node_does_not_have_is_said_on_stderr(lab: Lab, tmp_path: Path) -> None:
    done = lab["left"].run("true", cwd=tmp_path / "absent")
    assert done.exit_code == 126
    assert done.stderr == f"lab: {tmp_path / 'absent'}: No such file or directory (in node left)\n"


def test_a_program_that_cannot_be_started_leaves_no_file_open() -> None:
    lab, _ = fake_lab()
    gc.collect()  # what others have left
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(UsageError, match="left: cannot run ghost"):
            lab["left"].start("ghost")
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_a_success_is_handed_on() -> None:
    done = Completed("left", ("true",), 0, "out", "")
    assert done.check() is done


@pytest.mark.parametrize(
    ("stdout", "stderr", "said"),
    [
        ("", "", "it wrote nothing"),
        ("to stdout\n", "", "to stdout"),
        ("to stdout\n", "to stderr\n", "to stderr"),
        ("", "x" * 5000 + "end", "x" * 1997 + "end"),
    ],
    ids=["nothing", "stdout alone", "both", "much"],
)
def test_a_failure_carries_the_end_of_what_was_written(stdout: str, stderr: str, said: str) -> None:
    lab, _ = fake_lab({("make", "it"): Answer(2, stdout, stderr)})
    with pytest.raises(CommandError) as caught:
        lab["left"].run("make", "it").check()
    assert str(caught.value) == f"left: make it: exit code 2: {said}"
