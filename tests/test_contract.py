"""What every backend must do, asked of every backend; one that this machine cannot run is skipped with its reason."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.backends.base import Backend, RunningLab
from lab.backends.docker.client import DockerBackend
from lab.backends.fake import Answer, FakeBackend, Program
from lab.backends.netns.client import NetnsBackend
from lab.backends.owned import registry
from lab.errors import BackendError, LabExistsError, NotSupportedError, UsageError
from lab.faults.model import Fault, FaultState
from lab.plan.model import Impairment, Plan
from lab.running import Lab
from lab.wait import wait_until
from tests.small_labs import TWO_HOSTS, planned, up

SPEAK = ("sh", "-c", "echo to stdout; echo to stderr >&2; exit 7")
REPEAT = ("cat",)
COLOUR = ("printenv", "COLOUR")
WHERE = ("pwd",)
NOTE = ("cat", "/run/deep/down/note")
SLEEP = ("sleep", "60")
STUBBORN = ("sh", "-c", 'trap "" TERM; echo ready; while :; do sleep 60; done')

FAKE_PROGRAMS: dict[tuple[str, ...], Program] = {
    SPEAK: Answer(7, "to stdout\n", "to stderr\n"),
    REPEAT: lambda call: Answer(stdout=call.stdin.decode()),
    COLOUR: lambda call: Answer(stdout=call.environment["COLOUR"] + "\n"),
    WHERE: lambda call: Answer(stdout=f"{call.cwd}\n"),
    NOTE: Answer(stdout="text"),
    SLEEP: Answer(exit_code=None),
    STUBBORN: Answer(exit_code=None, stdout="ready\n", ignores=frozenset({signal.SIGTERM})),
}


@dataclass
class Candidate:
    """A backend under test.

    Attributes:
        broken: returns a backend of this kind and a plan that it fails to build.
    """

    backend: Backend
    broken: Callable[[], tuple[Backend, Plan]]


def fake() -> Candidate:
    return Candidate(FakeBackend(FAKE_PROGRAMS), lambda: (FakeBackend(failing_step="node right"), planned(TWO_HOSTS)))


def netns() -> Candidate:
    return _with_kernel(NetnsBackend())


def docker() -> Candidate:
    return _with_kernel(DockerBackend())


def _with_kernel(backend: Backend) -> Candidate:
    def broken() -> tuple[Backend, Plan]:
        good = planned(TWO_HOSTS)
        right = replace(good.nodes[1], sysctls=(("net.ipv4.tcp_sack", "no number"),))
        return backend, replace(good, nodes=(good.nodes[0], right))

    return Candidate(backend, broken)


@pytest.fixture(
    scope="module",
    params=[fake, netns, pytest.param(docker, marks=pytest.mark.docker)],
    ids=lambda make: make.__name__,
)
def candidate(request: pytest.FixtureRequest) -> Iterator[Candidate]:
    made: Candidate = request.param()
    try:
        try:
            made.backend.up(planned(TWO_HOSTS)).down()
        except NotSupportedError as error:
            pytest.skip(f"{made.backend.name}: {error}")
        yield made
    finally:
        made.backend.close()


@pytest.fixture
def backend(candidate: Candidate) -> Backend:
    return candidate.backend


@pytest.fixture
def lab(backend: Backend, tmp_path: Path) -> Iterator[Lab]:
    made = Lab.up(planned(TWO_HOSTS), backend, source="two.yaml", shared=[tmp_path, Path.cwd()])
    yield made
    if is_up(backend, made.plan):
        made.down()


def is_up(backend: Backend, plan: Plan) -> bool:
    try:
        backend.attach(plan.name)
    except UsageError:
        return False
    return True


def test_a_lab_that_is_up_is_listed_with_its_facts(backend: Backend, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: [lab.name])  # whatever else is up on this machine
    (facts,) = [facts for facts in backend.running() if facts.name == lab.name]
    assert (facts.backend, facts.source, facts.nodes) == (backend.name, "two.yaml", 2)
    assert facts.owner > 0
    assert facts.since > 0


def test_a_lab_that_is_up_is_reached_by_its_name(backend: Backend, lab: Lab) -> None:
    other = Lab(backend.attach(lab.name))
    assert other.plan == lab.plan
    other["left"].sysctl("net.ipv4.ip_default_ttl", 99)
    assert lab["left"].sysctl("net.ipv4.ip_default_ttl") == "99"


def test_an_unknown_lab_is_named_in_the_error(backend: Backend) -> None:
    with pytest.raises(UsageError, match='no lab named "atlantis" is up'):
        backend.attach("atlantis")


def test_a_lab_that_is_down_is_gone(backend: Backend, lab: Lab) -> None:
    lab.down()
    with pytest.raises(UsageError, match=f'no lab named "{lab.name}" is up'):
        backend.attach(lab.name)


def test_taking_a_lab_down_twice_says_that_it_is_not_up(lab: Lab) -> None:
    lab.down()
    with pytest.raises(UsageError, match=f'no lab named "{lab.name}" is up'):
        lab.down()


def test_a_second_lab_of_one_name_is_refused_and_the_first_goes_on(backend: Backend, lab: Lab) -> None:
    with pytest.raises(LabExistsError, match=f'a lab named "{lab.name}" is up already'):
        backend.up(lab.plan)
    assert lab["left"].run(*SPEAK).exit_code == 7


def test_a_name_is_free_again_once_its_lab_is_down(backend: Backend, lab: Lab) -> None:
    lab.down()
    with Lab.up(lab.plan, backend) as second:
        assert second.plan == lab.plan


def test_labs_do_not_touch_each_other(backend: Backend, lab: Lab) -> None:
    with up(TWO_HOSTS, backend) as other:
        other["left"].sysctl("net.ipv4.ip_default_ttl", 99)
        other["left"].start(*SLEEP)
        assert lab["left"].sysctl("net.ipv4.ip_default_ttl") == "32"
        assert lab.backend.processes() == []
    assert is_up(backend, lab.plan)


def test_each_step_is_told_before_it_is_taken(backend: Backend) -> None:
    steps: list[str] = []
    with Lab.up(planned(TWO_HOSTS), backend, on_step=steps.append):
        pass
    assert steps.index("node left") < steps.index("node right")


def test_nothing_is_left_of_a_lab_whose_client_gives_up(backend: Backend) -> None:
    plan = planned(TWO_HOSTS)

    def give_up(step: str) -> None:
        if step == "node right":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend.up(plan, on_step=give_up)

    assert not is_up(backend, plan)
    with Lab.up(plan, backend, shared=[Path.cwd()]) as second:
        assert second["left"].run(*SPEAK).exit_code == 7


def test_what_settles_a_lab_finds_it_built(backend: Backend) -> None:
    settled: list[str] = []

    def settle(lab: RunningLab) -> None:
        settled.append(lab.sysctl("left", "net.ipv4.ip_default_ttl"))

    plan = planned(TWO_HOSTS)
    backend.up(plan, settle=settle).down()
    assert settled == ["32"]


def test_nothing_is_left_of_a_lab_that_does_not_settle(backend: Backend) -> None:
    plan = planned(TWO_HOSTS)

    def fail(lab: RunningLab) -> None:
        assert is_up(backend, lab.plan)
        raise UsageError("a service does not start")

    with pytest.raises(UsageError, match="a service does not start"):
        backend.up(plan, settle=fail)
    assert not is_up(backend, plan)


def test_nothing_is_left_of_a_lab_that_cannot_be_built(candidate: Candidate) -> None:
    backend, plan = candidate.broken()
    with pytest.raises(BackendError, match="node right"):
        backend.up(plan)
    assert not is_up(backend, plan)


def test_a_program_has_an_exit_code_and_two_outputs(lab: Lab) -> None:
    done = lab["left"].run(*SPEAK)
    assert (done.exit_code, done.stdout, done.stderr) == (7, "to stdout\n", "to stderr\n")


def test_a_program_reads_what_it_is_given(lab: Lab) -> None:
    assert lab["left"].run(*REPEAT, stdin=b"one\ntwo\n").stdout == "one\ntwo\n"


def test_a_program_has_its_nodes_environment(lab: Lab) -> None:
    assert lab["left"].run(*COLOUR).stdout == "green\n"


def test_a_program_has_the_environment_that_it_is_given_on_top(lab: Lab) -> None:
    assert lab["left"].run(*COLOUR, environment={"COLOUR": "red"}).stdout == "red\n"


def test_a_program_runs_in_a_folder_of_the_callers_choice(lab: Lab, tmp_path: Path) -> None:
    assert lab["left"].run(*WHERE, cwd=tmp_path).stdout == f"{tmp_path}\n"


def test_a_signal_ends_a_program(lab: Lab) -> None:
    process = lab["left"].start(*SLEEP)
    assert process.exit_code is None
    process.signal(signal.SIGTERM)
    assert process.wait().exit_code == -signal.SIGTERM


def test_a_program_may_ignore_a_signal_but_not_all(lab: Lab) -> None:
    process = lab["left"].start(*STUBBORN)
    wait_until(lambda: process.stdout == "ready\n", timeout=5, what="the trap to be set")
    process.signal(signal.SIGTERM)
    assert process._running.wait(0.05) is None
    process.signal(signal.SIGKILL)
    assert process.wait().exit_code == -signal.SIGKILL


def test_a_signal_to_a_program_that_has_ended_does_nothing(lab: Lab) -> None:
    process = lab["left"].start(*SPEAK)
    assert process.wait().exit_code == 7
    process.signal(signal.SIGKILL)
    assert process.exit_code == 7


def test_a_program_that_does_not_exist_is_named_with_its_node(lab: Lab) -> None:
    with pytest.raises(UsageError, match="left: cannot run no-such-program"):
        lab["left"].start("no-such-program")


def test_an_unknown_node_is_named_with_those_that_there_are(lab: Lab) -> None:
    stranger = 'no node named "nobody"; this lab has left, right'
    nowhere = Path("/")
    with pytest.raises(UsageError, match=stranger):
        lab.backend.spawn("nobody", SPEAK, environment={}, cwd=nowhere, files=(0, 1, 2))
    with pytest.raises(UsageError, match=stranger):
        lab.backend.socket("nobody", socket.AF_INET, socket.SOCK_DGRAM)
    with pytest.raises(UsageError, match=stranger):
        lab.backend.sysctl("nobody", "net.ipv4.ip_default_ttl")
    with pytest.raises(UsageError, match=stranger):
        lab.backend.impair("nobody", "eth0", None, None)
    with pytest.raises(UsageError, match=stranger):
        lab.backend.write("nobody", {"/run/note": "text"})


def test_running_programs_are_listed_with_pid_node_and_command(lab: Lab) -> None:
    lab["left"].run(*SPEAK)
    process = lab["right"].start(*SLEEP)
    assert lab.backend.processes() == [{"pid": process.pid, "node": "right", "command": list(SLEEP)}]
    process.stop()
    assert lab.backend.processes() == []


def test_a_program_may_be_started_as_a_service_and_without_powers(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with (tmp_path / "out").open("r+b") as out:
        running = lab.backend.spawn(
            "left",
            REPEAT,
            environment={"PATH": "/usr/bin:/bin"},
            cwd=Path("/"),
            files=(out.fileno(), out.fileno(), out.fileno()),
            service="reader",
            unprivileged=True,
        )
        with closing(running):
            assert running.wait(5) == 0


def test_a_lab_that_goes_down_takes_its_programs_along(backend: Backend) -> None:
    lab = Lab.up(planned(TWO_HOSTS), backend, detached=True, shared=[Path.cwd()])
    with lab["left"].start(*STUBBORN) as process:
        backend.attach(lab.name).down()
        assert process.wait().exit_code == -signal.SIGKILL


def test_the_topologys_sysctls_are_set_for_their_node_alone(lab: Lab) -> None:
    assert lab["left"].sysctl("net.ipv4.ip_default_ttl") == "32"


def test_a_sysctl_that_is_set_stays_so(lab: Lab) -> None:
    assert lab["left"].sysctl("net.ipv4.ip_default_ttl", 7) == "7"
    assert lab["left"].sysctl("net.ipv4.ip_default_ttl") == "7"


def test_an_unknown_sysctl_is_named_with_its_node(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"left: sysctl net\.ipv4\.tcp_magic: No such file or directory"):
        lab["left"].sysctl("net.ipv4.tcp_magic")


def test_sockets_of_two_nodes_reach_each_other(lab: Lab) -> None:
    try:
        receiver = lab["right"].socket(socket.AF_INET, socket.SOCK_DGRAM)
    except NotSupportedError as error:
        pytest.skip(str(error))
    with receiver, lab["left"].socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.bind((lab["right"].address(), 4000))
        receiver.settimeout(5)
        sender.sendto(b"hello", receiver.getsockname())
        data, source = receiver.recvfrom(100)
    assert (data, source[0]) == (b"hello", lab["left"].address())


def test_the_entrance_leads_a_program_into_the_node(lab: Lab) -> None:
    try:
        entrance = lab.backend.entrance("left")
    except NotSupportedError as error:
        pytest.skip(str(error))
    done = subprocess.run([*entrance, "sh", "-c", "hostname; exit 3"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("left\n", 3)


def test_a_service_that_was_never_started_is_named_in_the_error(lab: Lab) -> None:
    assert lab.backend.services() == []
    with pytest.raises(UsageError, match=r'left.* service "ghost"'):
        lab.backend.follow("left", "ghost")
    with pytest.raises(UsageError, match=r'left.* service "ghost"'):
        lab.backend.respawn("left", "ghost")


def test_a_lab_has_a_source_and_a_folder_of_its_own(backend: Backend, lab: Lab) -> None:
    assert lab.backend.source == "two.yaml"
    with up(TWO_HOSTS, backend) as other:
        assert other.backend.source == ""
        assert other.backend.folder != lab.backend.folder
    assert lab.backend.folder == backend.attach(lab.name).folder


def test_files_are_written_where_a_node_has_folders_of_its_own(lab: Lab) -> None:
    lab.backend.write("left", {NOTE[-1]: "text", "/tmp/note": ""})  # noqa: S108 - the node's own
    assert lab["left"].run(*NOTE).stdout == "text"


def test_what_happens_on_a_link_can_be_changed_and_changed_back(lab: Lab) -> None:
    try:
        lab.backend.impair("left", "eth0", Impairment(rate_bit=1_000_000, queue_bytes=10_000), None)
    except NotSupportedError as error:
        pytest.skip(str(error))
    lab.backend.impair("left", "eth0", None, None)


def test_a_link_that_is_no_wire_cannot_be_programmed(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"no (programmable )?wire"):
        lab.backend.link("left", "eth0")


def test_nothing_is_wrong_with_a_new_lab(lab: Lab) -> None:
    assert lab.backend.faults() == FaultState()


def test_a_cut_changes_something(lab: Lab) -> None:
    try:
        assert lab.backend.fault(Fault("cut", ("left", "right")))
    except NotSupportedError as error:
        pytest.skip(str(error))


def test_a_timeline_that_begins_tells_how_many_events_it_has(backend: Backend) -> None:
    later = "timeline: [{at: 1000s, cut: left}, {at: 2000s, restore: left}]\n"
    with up(TWO_HOSTS + later, backend) as lab:
        assert lab.backend.start_timeline() == 2
    with up(TWO_HOSTS, backend) as lab:
        assert lab.backend.start_timeline() == 0


def test_a_feed_of_marks_can_be_polled_and_has_none_while_nothing_is_done(lab: Lab) -> None:
    with closing(lab.backend.watch()) as feed:
        assert select.select([feed], [], [], 0)[0] == []
        assert feed.read() == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda lab: lab.fault(Fault("restore")),
        lambda lab: lab.impair("left", "eth0", None, None),
        lambda lab: lab.write("left", {"/run/note": "text"}),
        lambda lab: lab.link("left", "eth0"),
    ],
    ids=["fault", "impair", "write", "link"],
)
def test_a_lab_that_is_down_says_so_to_whoever_asks(lab: Lab, ask: Callable[[RunningLab], object]) -> None:
    lab.down()
    with pytest.raises(UsageError, match=f'no lab named "{lab.name}" is up'):
        ask(lab.backend)
