"""The pytest plugin, as a person who writes scenarios meets it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator

import pytest

from lab.backends.netns.client import NetnsBackend
from lab.backends.owned import registry
from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.trace.pcap import read_pcap
from lab.wait import wait_until
from tests.small_labs import TWO_HOSTS, up

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with one topology, where every warning is an error; without a plugin that is slow to start."""
    pytester.makeini("[pytest]\nfilterwarnings = error\nxfail_strict = true\naddopts = -p no:hypothesispytest\n")
    (pytester.path / "two.yaml").write_text(TWO_HOSTS)
    return pytester


def write(project: pytest.Pytester, text: str) -> None:
    project.makepyfile(f"import pytest\nfrom lab import mutants\nfrom lab.errors import UsageError\n\n{text}")


def test_the_mark_names_the_topology_that_the_fixture_brings_up(project: pytest.Pytester) -> None:
    write(
        project,
        """
@pytest.mark.topology("two.yaml")
def test_it(lab):
    assert lab.name.startswith("two-hosts-")
    assert [node.name for node in lab] == ["left", "right"]
    assert lab["left"].ping(lab["right"].address()).received == 1
""",
    )
    project.runpytest_inprocess("--strict-markers").assert_outcomes(passed=1)


def test_the_projects_topologies_folder_is_searched_too(project: pytest.Pytester) -> None:
    (project.path / "topologies").mkdir()
    (project.path / "two.yaml").rename(project.path / "topologies" / "elsewhere.yaml")
    write(project, "@pytest.mark.topology('elsewhere.yaml')\ndef test_it(lab): pass")
    project.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_missing_topology_is_named_with_the_places_searched(project: pytest.Pytester) -> None:
    write(project, "@pytest.mark.topology('three.yaml')\ndef test_it(lab): pass")
    result = project.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"no topology three.yaml in {project.path}, {project.path}/topologies, *"])


def test_a_wrong_topology_is_told_by_line_and_column(project: pytest.Pytester) -> None:
    (project.path / "two.yaml").write_text("name: two\nnodes:\n  left: {kind: rooter}\n")
    write(project, "@pytest.mark.topology('two.yaml')\ndef test_it(lab): pass")
    result = project.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*two.yaml:3:16: nodes.left.kind: *rooter*"])


def test_a_missing_mark_is_asked_for(project: pytest.Pytester) -> None:
    write(project, "def test_it(lab): pass")
    result = project.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['the `lab` fixture needs @pytest.mark.topology("FILE")'])


def test_sysctls_of_the_mark_come_on_top_of_the_files(project: pytest.Pytester) -> None:
    write(
        project,
        """
@pytest.mark.topology("two.yaml", sysctls={"left": {"net.ipv4.ip_default_ttl": 9}})
def test_it(lab):
    assert lab["left"].sysctl("net.ipv4.ip_default_ttl") == "9"
    assert lab["right"].sysctl("net.ipv4.ip_default_ttl") == "64"

@pytest.mark.topology("two.yaml", sysctls={"lift": {"net.ipv4.ip_default_ttl": 9}})
def test_unknown(lab): pass
""",
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["sysctls for nodes that two-hosts has not: lift"])


def test_labs_are_fresh_unless_the_mark_says_reuse(project: pytest.Pytester) -> None:
    write(
        project,
        """
seen = {}
fresh = pytest.mark.topology("two.yaml")
shared = pytest.mark.topology("two.yaml", reuse=True)

@fresh
def test_first_fresh(lab):
    seen["fresh"] = lab

@fresh
def test_second_fresh(lab):
    assert lab is not seen["fresh"] and lab.name != seen["fresh"].name
    with pytest.raises(UsageError, match="no lab named"):
        seen["fresh"].backend.processes()

@shared
def test_first_shared(lab):
    seen["shared"] = lab
    assert lab is not seen["fresh"]

@shared
def test_second_shared(lab):
    assert lab is seen["shared"]
    with lab.capture():
        pass

@pytest.mark.topology("two.yaml", reuse=True, sysctls={"left": {"net.ipv4.ip_default_ttl": 9}})
def test_another_plan(lab):
    assert lab is not seen["shared"]

@shared
def test_third_shared(lab):
    assert lab is seen["shared"]
    assert lab.captures == []

@shared
def test_failing(lab):
    pytest.fail("on purpose")

@shared
def test_shared_after_a_failure(lab):
    assert lab is not seen["shared"]
    with pytest.raises(UsageError, match="no lab named"):
        seen["shared"].backend.processes()
""",
    )
    result = project.runpytest_inprocess()
    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_failing*"])


FAILING = """
@pytest.mark.topology("two.yaml")
@pytest.mark.parametrize("what", ["a/b c"])
def test_it(lab, what):
    lab["left"].start("sh", "-c", "echo said; echo complained >&2").wait()
    with lab.capture(expression="icmp"):
        lab["left"].ping(lab["right"].address())
    with lab["right"].capture("eth0"):
        pass
    lab.notes["left.csv"] = lambda: "seconds,cwnd"
    assert lab.name == "another"
"""


def test_what_tells_of_a_failure_is_kept_and_named(project: pytest.Pytester) -> None:
    write(project, FAILING)
    result = project.runpytest_inprocess("--lab-artifacts", "kept")
    result.assert_outcomes(failed=1)

    (folder,) = (project.path / "kept").iterdir()
    assert re.fullmatch(r"[\w.-]+", folder.name)
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    (stdout,) = [path for name, path in files.items() if re.fullmatch(r"left-sh-\d+\.stdout", name)]
    assert stdout.read_text() == "said\n"
    assert stdout.with_suffix(".stderr").read_text() == "complained\n"
    assert set(files) - {stdout.name, stdout.with_suffix(".stderr").name} == {
        *("plan.json", "plan.txt", "trace-1.txt", "trace-2.txt", "left.csv"),
        *("trace-1/left-eth0.pcap", "trace-1/right-eth0.pcap"),
    }
    assert len(list(read_pcap(files["trace-1/left-eth0.pcap"]))) == 2
    assert files["left.csv"].read_text() == "seconds,cwnd"
    first, request, *_ = files["trace-1.txt"].read_text().splitlines()
    assert first == "# 0 packets dropped by the kernel"
    assert "icmp echo_request" in request
    for path in files.values():
        result.stdout.fnmatch_lines([f"kept/*{path.relative_to(folder)}"])


def test_nothing_is_kept_of_a_success(project: pytest.Pytester) -> None:
    write(project, FAILING.replace('"another"', "lab.name"))
    project.runpytest_inprocess().assert_outcomes(passed=1)
    assert not (project.path / "artifacts").exists()


def test_what_passes_is_kept_too_if_asked(project: pytest.Pytester) -> None:
    write(project, FAILING.replace('"another"', "lab.name"))
    result = project.runpytest_inprocess("--lab-artifacts", "kept", "--lab-artifacts-of", "all", "-rP")
    result.assert_outcomes(passed=1)
    (folder,) = (project.path / "kept").iterdir()
    assert (folder / "left.csv").read_text() == "seconds,cwnd"
    assert len(list(read_pcap(folder / "trace-1" / "left-eth0.pcap"))) == 2
    result.stdout.fnmatch_lines([f"kept/{folder.name}/left.csv"])
    result.stdout.no_fnmatch_line("the lab is still up*")


def test_only_what_belongs_to_the_last_failure_is_there(project: pytest.Pytester) -> None:
    write(project, FAILING)
    project.runpytest_inprocess("--lab-artifacts", "kept").assert_outcomes(failed=1)
    (folder,) = (project.path / "kept").iterdir()
    write(project, FAILING.replace("lab.capture(", "pytest.raises(ValueError), lab.capture("))
    project.runpytest_inprocess("--lab-artifacts", "kept").assert_outcomes(failed=1)
    assert (folder / "trace-1.txt").is_file()
    assert not (folder / "trace-2.txt").exists()


@pytest.fixture
def backend() -> Iterator[NetnsBackend]:
    made = NetnsBackend()
    yield made
    made.close()


def test_the_lab_of_a_failure_stays_up_if_asked(project: pytest.Pytester, backend: NetnsBackend) -> None:
    write(project, FAILING + "\n@pytest.mark.topology('two.yaml')\ndef test_success(lab): pass\n")
    result = project.runpytest_inprocess("--lab-keep")
    ours = [name for name in registry.names() if name.startswith(f"two-hosts-{os.getpid()}-")]
    kept = [name for name in ours if registry.owner_of(name)["source"] == str(project.path / "two.yaml")]
    try:
        result.assert_outcomes(passed=1, failed=1)
        (name,) = kept
        result.stdout.fnmatch_lines([f"the lab is still up: lab shell --lab {name} NODE; lab down {name}"])
        assert Lab(backend.attach(name))["left"].run("hostname").stdout == "left\n"
    finally:
        for name in kept:
            backend.attach(name).down()


def test_a_section_of_the_book_can_be_chosen(project: pytest.Pytester) -> None:
    write(
        project,
        """
@pytest.mark.book("2.6.2")
def test_redirect(): pass

@pytest.mark.book("2.60")
def test_far_behind(): pass

@pytest.mark.book("3.5")
@pytest.mark.book("2.6")
def test_in_two_sections(): pass

def test_of_no_section(): pass
""",
    )
    for section, passed in (("2.6", 2), ("2.6.2", 1), ("2.60", 1), ("2", 3), ("3.", 1), ("4", 0)):
        result = project.runpytest_inprocess("--book", section)
        result.assert_outcomes(passed=passed, deselected=4 - passed)


MUTANTS = """
TTL = "net.ipv4.ip_default_ttl"
closed = []

class InTheWay:
    def close(self):
        closed.append(self)

@pytest.mark.topology("two.yaml")
@pytest.mark.mutant("another limit", mutants.sysctl("left", TTL, 7))
@pytest.mark.mutant("a limit by a program", mutants.command("left", "sysctl", "-w", "net.ipv4.ip_default_ttl=8"))
def test_caught(lab):
    assert lab["left"].sysctl(TTL) == "32"

@pytest.mark.topology("two.yaml", reuse=True)
@pytest.mark.mutant("no packets", mutants.sysctl("right", "net.ipv4.icmp_echo_ignore_all", 1))
def test_caught_by_a_missing_packet(lab):
    with lab["left"].capture() as capture:
        lab["left"].ping(lab["right"].address(), timeout=0.01)
    capture.trace.first(lambda packet: packet.direction == "in" and packet.icmp is not None)

@pytest.mark.topology("two.yaml")
@pytest.mark.mutant("a limit that it does not look at", lambda lab: InTheWay())
def test_uncaught(lab):
    assert lab["left"].sysctl(TTL) == "32"

@pytest.mark.topology("two.yaml")
def test_without_mutant(lab): pass

@pytest.mark.topology("two.yaml")
@pytest.mark.mutant("an error on the way", mutants.sysctl("left", TTL, 7))
def test_that_stumbles(lab):
    if lab["left"].sysctl(TTL) == "7":
        raise UsageError("stumbled")

@pytest.mark.topology("two.yaml")
@pytest.mark.mutant("a mutant that fails itself", mutants.command("left", "false"))
def test_that_cannot_be_sabotaged(lab): pass

def test_of_something_else():
    assert len(closed) in (0, 1)
"""


def test_scenarios_pass_without_their_mutants(project: pytest.Pytester) -> None:
    write(project, MUTANTS)
    project.runpytest_inprocess().assert_outcomes(passed=7)


def test_a_mutant_must_be_caught_by_a_failed_check(project: pytest.Pytester) -> None:
    write(project, MUTANTS.replace("in (0, 1)", "== 1"))
    result = project.runpytest_inprocess("--mutants", "-rA")
    result.assert_outcomes(xfailed=3, failed=2, errors=2, passed=1)
    result.stdout.fnmatch_lines_random(
        [
            "XFAIL *::test_caught[[]another limit[]]*",
            "XFAIL *::test_caught[[]a limit by a program[]]*",
            "XFAIL *::test_caught_by_a_missing_packet[[]no packets[]]*",
            "FAILED *::test_uncaught[[]a limit that it does not look at[]]*",
            "FAILED *::test_that_stumbles[[]an error on the way[]]*",
            "E * lab.errors.UsageError: stumbled",
            "ERROR *::test_without_mutant[[]none[]]*",
            "ERROR *::test_that_cannot_be_sabotaged[[]a mutant that fails itself[]]*",
            "this scenario has no mutant, so nothing shows that it can fail: add @pytest.mark.mutant",
        ]
    )
    kept = [path.name for path in (project.path / "artifacts").iterdir()]
    assert sorted(name.partition(".py-")[2].partition("-")[0] for name in kept) == [
        "test_that_stumbles",
        "test_uncaught",
    ]


def test_eight_labs_are_up_at_once_in_four_workers(project: pytest.Pytester) -> None:
    write(
        project,
        """
import itertools, os
from pathlib import Path
from lab.load import load
from lab.plan.planner import plan
from lab.wait import wait_until

rounds = itertools.count(1)

@pytest.mark.topology("two.yaml")
@pytest.mark.parametrize("number", range(8))
def test_it(lab, labs, number):
    source = Path(__file__).parent / "two.yaml"
    with labs.fresh(plan(load(source)), source) as second:
        this_round = next(rounds)
        meeting = source.parent
        (meeting / f"{this_round}-{os.environ['PYTEST_XDIST_WORKER']}").touch()
        wait_until(lambda: len(list(meeting.glob(f"{this_round}-*"))) == 4, timeout=60, what="the other workers")
        for one in (lab, second):
            one["left"].sysctl("net.ipv4.ip_default_ttl", 100 + number)
            assert one["left"].ping(one["right"].address(), count=5).received == 5
            assert one["left"].sysctl("net.ipv4.ip_default_ttl") == str(100 + number)
""",
    )
    project.runpytest_subprocess("-n", "4").assert_outcomes(passed=8)


@pytest.fixture(scope="module")
def pair(labs: Labs) -> Iterator[Lab]:
    with up(TWO_HOSTS, labs.backend) as made:
        yield made


def test_testinfra_sees_a_nodes_addresses(pair: Lab) -> None:
    addresses = pair["left"].testinfra.interface("eth0").addresses
    assert {"10.0.1.1", "fd00:1::1"} <= set(addresses)


def test_testinfra_sees_who_listens_in_a_node(pair: Lab) -> None:
    with pair["right"].socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("0.0.0.0", 8080))  # noqa: S104 - of a lab's own
        listener.listen()
        assert pair["right"].testinfra.socket("tcp://0.0.0.0:8080").is_listening
        assert not pair["right"].testinfra.socket("tcp://0.0.0.0:8081").is_listening
        assert not pair["left"].testinfra.socket("tcp://0.0.0.0:8080").is_listening


def test_testinfra_reads_a_nodes_files(pair: Lab) -> None:
    hosts = pair["left"].testinfra.file("/etc/hosts")
    assert hosts.is_file
    assert hosts.contains(r"^10\.0\.1\.2\s.*right")
    assert not hosts.contains("nobody")


def test_testinfra_sees_a_nodes_processes(pair: Lab) -> None:
    with pair["left"].start("sleep", "60") as process:
        wait_until(lambda: bool(pair.backend.processes()), timeout=5, what="it to run")
        found = pair["left"].testinfra.process.get(comm="sleep")
        assert (found.pid, found.args) == (process.pid, "sleep 60")


def test_testinfra_runs_lines_of_shell_with_quoted_words(pair: Lab) -> None:
    host = pair["left"].testinfra
    done = host.run("hostname; echo %s >&2; exit 3", "two words; $HOME")
    assert (done.stdout, done.stderr, done.rc) == ("left\n", "two words; $HOME\n", 3)
    assert host.check_output("echo $COLOUR") == "green"


def test_testinfra_resolves_the_labs_names(pair: Lab) -> None:
    assert pair["left"].testinfra.addr("right").ipv4_addresses == ["10.0.1.2"]


def test_a_nodes_testinfra_host_is_made_once(pair: Lab) -> None:
    assert pair["left"].testinfra is pair["left"].testinfra
