"""Cuts of running labs, as pings, captures and the nodes' own tools see them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab.backends.owned import registry
from lab.checks import arp, icmp, ip
from lab.errors import UsageError
from lab.pytest_plugin import Labs
from lab.running import Lab
from lab.wait import wait_until
from tests.faulty_labs import THREE, WIRED, configuration, flags, in_vain, marks, mend, planned, reaches, up

PORT = 7000
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def shared_lab(labs: Labs) -> Iterator[Lab]:
    with up(THREE, labs.backend) as made:
        yield made


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    yield shared_lab
    mend(shared_lab)


@pytest.fixture(scope="module")
def wired_lab(labs: Labs) -> Iterator[Lab]:
    with up(WIRED, labs.backend) as made:
        yield made


def test_a_cut_interface_is_silent_and_keeps_its_carrier(lab: Lab) -> None:
    a, b, c = lab
    lab.cut("b:eth0")

    assert in_vain(a, b)
    assert in_vain(b, c)
    assert reaches(b, c, "dmz")
    assert reaches(a, c)
    assert "LOWER_UP" in flags(b)

    lab.restore("b:eth0")
    assert reaches(a, b)


def test_a_cut_node_is_silent_on_all_its_networks(lab: Lab) -> None:
    a, b, c = lab
    lab.cut("b")
    assert in_vain(a, b)
    assert in_vain(c, b, "dmz")
    assert reaches(a, c)


def test_a_cut_network_carries_nothing_and_others_do(lab: Lab) -> None:
    a, b, c = lab
    lab.cut("lan")
    assert in_vain(a, b)
    assert in_vain(a, c)
    assert in_vain(b, c)
    assert reaches(b, c, "dmz")


def test_a_node_may_be_cut_off_from_one_network(lab: Lab) -> None:
    a, b, c = lab
    lab.cut("c", "lan")
    assert in_vain(a, c)
    assert reaches(b, c, "dmz")


def test_a_cut_between_two_nodes_lets_the_third_hear_both(lab: Lab) -> None:
    """Broadcasts too: the question for an address reaches the third node and not the one that is cut off."""
    a, b, c = lab
    for node in (a, b):
        node.run("ip", "neigh", "flush", "all").check()
    with lab.capture() as capture:
        lab.cut("a", "b")
        assert in_vain(a, b)
        assert in_vain(b, a)
    assert reaches(a, c)
    assert reaches(b, c)

    names = {node.interface("lan").mac: node.name for node in lab}
    questions = capture.trace.where(arp.is_request, lambda packet: packet.direction == "in")
    heard = {(names[packet.eth.src], packet.node) for packet in questions if packet.eth}
    assert heard == {("a", "c"), ("b", "c")}


def test_a_cut_is_of_every_protocol(lab: Lab) -> None:
    a, b, _c = lab
    assert reaches(a, b, version=6)
    lab.cut("a", "b")
    assert in_vain(a, b, version=6)


def test_a_pulled_plug_is_noticed_and_put_back_without_loss_of_routes(lab: Lab) -> None:
    a, b, _c = lab
    before = configuration(a)
    lab.cut("a", carrier=True)
    assert "NO-CARRIER" in flags(a)
    assert in_vain(b, a)

    lab.restore("a")
    assert "LOWER_UP" in flags(a)
    assert reaches(a, b)
    assert configuration(a) == before


def test_a_plug_stays_out_until_all_who_pulled_it_put_it_back(lab: Lab) -> None:
    a = lab["a"]
    lab.cut("a", carrier=True)
    lab.cut("lan", carrier=True)
    lab.restore("lan")
    assert "NO-CARRIER" in flags(a)
    lab.restore("a")
    assert "LOWER_UP" in flags(a)


def test_a_partition_parts_groups_and_not_their_members(lab: Lab) -> None:
    a, b, c = lab
    lab.partition(["a", "b"], ["c"])
    assert reaches(a, b)
    assert in_vain(a, c)
    assert in_vain(b, c)
    assert in_vain(b, c, "dmz")
    assert lab.faults().cuts == ("a,b c",)

    lab.restore(["c"], ["b", "a"])
    assert reaches(a, c)


def test_restore_without_a_target_undoes_all(lab: Lab) -> None:
    a, b, c = lab
    lab.cut("a", "b")
    lab.cut("c", carrier=True)
    lab.restore()
    assert reaches(a, b)
    assert reaches(a, c)
    assert lab.faults().cuts == ()


def test_what_is_so_already_changes_nothing_and_leaves_no_mark(lab: Lab) -> None:
    seen = len(marks(lab))
    for _twice in range(2):
        lab.cut("a", "b")
        lab.cut("b", "a")
    for _twice in range(2):
        lab.restore("a", "b")
    for _twice in range(2):
        lab["a"].kill()
    for _twice in range(2):
        lab["a"].boot()
    assert marks(lab)[seen:] == ["cut a b", "restore a b", "kill a", "start a"]


def test_a_restore_of_something_else_says_what_is_cut(lab: Lab) -> None:
    lab.cut("lan")
    with pytest.raises(UsageError, match='"a" is not what was cut; restore what was: "lan"'):
        lab.restore("a")


def test_a_name_that_the_lab_does_not_have_is_refused(lab: Lab) -> None:
    with pytest.raises(UsageError, match='no node or network named "z"'):
        lab.cut("z")
    assert lab.faults().cuts == ()


def test_marks_stand_in_the_trace_where_the_network_changed(lab: Lab) -> None:
    """On the clock of packets: one that gets through is in front of the cut or behind the restoration."""
    a, b, _c = lab
    with lab.capture() as capture:
        assert reaches(a, b)
        lab.cut("a", "b")
        assert in_vain(a, b)
        lab.restore("a", "b")
        assert reaches(a, b)

    cut, restored = capture.trace.marks
    assert (cut.text, restored.text) == ("cut a b", "restore a b")
    # A ping of another test, which waits for an address still, may find its way now.
    requests = capture.trace.where(icmp.is_echo_request, ip.sent_by(a.address("lan")))
    sent, arrived = ([packet.time_ns for packet in requests.on(node)] for node in ("a", "b"))
    moments = [sent[0], arrived[0], cut.time_ns, sent[1], restored.time_ns, sent[2], arrived[1]]
    assert moments == sorted(moments)
    lines = [line.partition(" ")[2] for line in requests.on("b").lines()]
    assert [line if line.startswith("--") else line.partition(" ")[0] for line in lines] == [
        "b:eth0",
        "-- cut a b",
        "-- restore a b",
        "b:eth0",
    ]


def test_a_capture_has_the_marks_of_its_own_time_alone(lab: Lab) -> None:
    lab.cut("a")
    with lab.capture() as capture:
        pass
    assert capture.trace.marks == ()


def test_an_impaired_link_stays_cut(lab: Lab) -> None:
    """The kernel's way of impairing gives a link a new end at the switch."""
    a, b, c = lab
    lab.cut("a", "b")
    a.impair("lan", rate="100mbit")
    assert in_vain(a, b)
    assert reaches(a, c)
    assert marks(lab)[-1] == "impair a:eth0 rate 100mbit, queue 151400B"
    lab.restore()

    lab.cut("c:eth0", carrier=True)
    c.impair("lan", rate="100mbit")
    assert "NO-CARRIER" in flags(c)
    lab.restore()
    assert reaches(a, c)


def test_a_wire_is_cut_pulled_and_killed_like_any_link(wired_lab: Lab) -> None:
    a, b, c = wired_lab
    wired_lab.cut("a", "b")
    assert in_vain(a, b)
    assert reaches(a, c)
    wired_lab.restore()

    wired_lab.cut("a", carrier=True)
    assert "NO-CARRIER" in flags(a)
    wired_lab.restore()
    assert reaches(b, a)

    before = configuration(a)
    a.kill()
    assert in_vain(b, a)
    a.boot()
    assert configuration(a) == before
    assert reaches(b, a)


@pytest.mark.skipif(os.geteuid() != 0, reason="looks into the switches' namespace from outside, as root")
@pytest.mark.skipif(not shutil.which("nft"), reason="nft is not installed")
def test_a_cut_is_in_the_labs_own_switches_and_leaves_nothing_there(lab: Lab) -> None:
    def rules(*prefix: str) -> str:
        return subprocess.run([*prefix, "nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout

    switches = ["nsenter", f"--net=/proc/{registry.owner_of(lab.name)['owner']}/ns/net"]
    hosts = rules()
    lab.cut("a", "b")
    lab.cut("c")
    assert "drop" in rules(*switches)
    assert rules() == hosts
    lab.restore()
    assert rules(*switches) == ""


AS_USER = """
from tests.faulty_labs import THREE, in_vain, reaches, up
with up(THREE) as lab:
    a, b, c = lab
    lab.cut("a", "b")
    print(in_vain(a, b), reaches(a, c))
    lab.restore()
    lab.cut("a", carrier=True)
    print(in_vain(c, a))
    lab.restore()
    b.kill()
    print(in_vain(a, b), lab.faults().off)
    b.boot()
    print(reaches(a, b), reaches(a, b, version=6), reaches(b, c, "dmz"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="runs as an ordinary user already")
def test_an_ordinary_user_can_do_the_same() -> None:
    ordinary_user = pytest.importorskip("tests.ordinary_user")
    with ordinary_user.environment() as own:
        done = subprocess.run(
            ordinary_user.command(sys.executable, "-c", AS_USER),
            env={**own, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["True True", "True", "True ('b',)", "True True True"]


def test_a_reused_lab_whose_links_were_touched_is_not_used_again(labs: Labs) -> None:
    ours, plan = Labs(labs.backend, keep=False, shared_folders=()), planned(THREE)
    first = ours.reused(plan, ROOT)
    ours.give_back(first, failed=False)
    assert ours.reused(plan, ROOT) is first
    first.cut("a")
    first.restore()
    ours.give_back(first, failed=False)
    assert ours.reused(plan, ROOT) is not first
    ours.close()


def test_an_interface_that_is_down_gets_its_carrier_back_without_being_waited_for(lab: Lab) -> None:
    with closing(lab.backend.watch()) as feed:
        lab.cut("a:eth0", carrier=True)
        lab["a"].run("ip", "link", "set", "eth0", "down").check()
        lab.restore("a:eth0")
        assert lab.faults().cuts == ()
        assert [mark.text for mark in feed.read()] == ["cut a:eth0 carrier", "restore a:eth0"]
    lab["a"].run("ip", "link", "set", "eth0", "up").check()
    wait_until(lambda: reaches(lab["a"], lab["b"]), timeout=10, what="a to reach b again")
