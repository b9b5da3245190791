"""What a node sees of the machine: files, names and processes of its own, and the rest as it is."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.users import KINDS, PROJECT, User, become

Run = Callable[..., str]


@pytest.fixture(scope="module", params=KINDS)
def user(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Each in turn, for all tests here: they share a lab."""
    with become(request.param, tmp_path_factory.mktemp("user")) as someone:
        yield someone


@pytest.fixture(scope="module")
def lab(user: User) -> Iterator[str]:
    """The name of a lab that is up."""
    name = user.up()
    yield name
    assert user.lab("down", name).returncode == 0


@pytest.fixture
def run(user: User, lab: str) -> Run:
    """Run a program in a node and return what it printed."""

    def run(node: str, *program: str) -> str:
        done = user.lab("exec", "--lab", lab, node, "--", *program, cwd="/")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    return run


def test_a_node_has_its_own_name_and_knows_every_other_by_name(run: Run) -> None:
    machine = socket.gethostname()
    assert (run("host", "hostname"), run("target", "hostname")) == ("host\n", "target\n")
    assert run("host", "cat", "/etc/hostname") == "host\n"
    assert run("host", "getent", "hosts", "target").split() == ["10.9.0.9", "target"]
    assert "10.0.1.10 " in " ".join(run("better", "cat", "/etc/hosts").split()) + " "
    assert "resolver" in run("host", "cat", "/etc/resolv.conf")
    assert socket.gethostname() == machine


@pytest.mark.parametrize("folder", ["/tmp", "/run", "/dev/shm"])  # noqa: S108 - the node's own
def test_what_a_node_writes_into_its_own_folders_is_seen_nowhere_else(run: Run, folder: str, lab: str) -> None:
    mark = f"{folder}/of-{lab}"
    before = run("target", "ls", "-A", folder)  # the project, if it is checked out there
    run("host", "sh", "-c", f"echo mine >{mark}")
    assert run("host", "cat", mark) == "mine\n"
    assert run("target", "ls", "-A", folder) == before
    assert not Path(mark).exists()


def test_the_folders_of_the_project_and_of_the_caller_are_seen_by_nodes(user: User) -> None:
    shared = user.temporary / "work"
    user.run("mkdir", "-p", str(shared))
    (user.temporary / "work" / "here.yaml").write_text((PROJECT / "topologies" / "redirect.yaml").read_text())
    (shared / "here.yaml").chmod(0o644)
    name = f"t-{os.urandom(6).hex()}"
    assert user.lab("up", "here.yaml", "--name", name, cwd=shared).returncode == 0
    written = user.lab("exec", "--lab", name, "host", "--", "sh", "-c", "pwd; echo seen >by-node", cwd=shared)
    assert (written.stdout, written.stderr) == (f"{shared}\n", "")
    assert (shared / "by-node").read_text() == "seen\n"
    user.lab("down", name)


def test_a_node_shows_its_own_interfaces_wherever_programs_look_for_them(run: Run) -> None:
    assert run("better", "ls", "/sys/class/net").split() == ["eth0", "eth1", "lo"]
    assert run("host", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    assert run("host", "cat", "/sys/class/net/eth0/address") == "02:00:0a:00:01:0a\n"
    assert {link["ifname"] for link in json.loads(run("better", "ip", "-json", "link"))} == {"eth0", "eth1", "lo"}
    assert set(run("better", "ls", "/proc/sys/net/ipv4/conf").split()) == {"all", "default", "eth0", "eth1", "lo"}
    assert run("host", "grep", "-c", ":", "/proc/net/dev") == "2\n"


def test_a_node_shows_the_processes_of_its_lab_only(run: Run) -> None:
    shown = run("host", "ps", "-e", "-o", "pid=,args=").splitlines()
    assert len(shown) == 2
    assert shown[0].split()[0] == "1"
    assert shown[1].split()[1:3] == ["ps", "-e"]


def test_a_node_has_shared_memory_and_semaphores_of_its_own(run: Run) -> None:
    run("host", "ipcmk", "-Q")
    assert "0x" in run("host", "ipcs", "-q")
    assert "0x" not in run("target", "ipcs", "-q")
