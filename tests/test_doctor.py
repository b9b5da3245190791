from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.backends.owned import registry
from lab.doctor import Finding, arena, examine, is_healthy, render, to_data
from lab.doctor.tools import look_for_tools
from lab.netlink import sysctl
from lab.netlink.namespaces import Clone
from lab.wait import wait_until
from tests import ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARK = "DOCTOR_TEST_MARK"

# Scripts for processes of their own: trials fork, and a test session may have threads.
_ALL = """
import json
from lab.doctor import examine, to_data
print(json.dumps(to_data(examine())))
"""
_NAMED = """
import json, sys
from lab.doctor import to_data
from lab.doctor.trial import run_all
from lab.doctor.trials import every_trial
print(json.dumps(to_data(run_all([trial for trial in every_trial() if trial.name in sys.argv[1:]], 10.0))))
"""
_MADE_UP = """
import errno, json, os, signal
from lab.doctor import arena, to_data
from lab.doctor.trial import Refusal, Trial, run_all

def refused():
    raise OSError(errno.EPERM, "Operation not permitted")

def refused_with_remedy():
    raise Refusal("no", "another remedy")

def wedged():
    return arena.in_home(lambda: str(signal.pause()))

runs = {
    "works": lambda: "seen",
    "refused": refused,
    "knows better": refused_with_remedy,
    "surprise": lambda: str(1 // 0),
    "strange text": lambda: "two\\nlines, \\x1b[31mred, \\u00fc" + "x" * 5000,
    "dies": lambda: str(os.kill(os.getpid(), signal.SIGKILL)),
    "wedged": wedged,
}
trials = [Trial(name, "made up", run, "the usual remedy", required=True) for name, run in runs.items()]
print(json.dumps(to_data(run_all(trials, 1.0))))
"""
_NO_NETWORK_NAMESPACES = """
import json
from lab.doctor import examine, to_data
from lab.netlink import namespaces
namespaces.become_root_of_user_namespace()
with open("/proc/sys/user/max_net_namespaces", "w") as file:
    file.write("0")
print(json.dumps(to_data(examine())))
"""


@pytest.fixture(scope="module")
def found() -> list[Finding]:
    return examine()


def test_what_labs_need_works_here_for_the_user_of_this_session(found: list[Finding]) -> None:
    assert [finding for finding in found if finding.required and not finding.ok] == []
    assert is_healthy(found)


@pytest.mark.parametrize(
    "name",
    [
        "user namespaces",
        "PID namespace",
        "veth",
        "bridge",
        "capture",
        "offloads off",
        "state folder",
        "netem",
        "Docker",
    ],
)
def test_the_examination_covers_what_labs_are_made_of(found: list[Finding], name: str) -> None:
    assert [finding.name for finding in found].count(name) == 1


def test_a_remedy_is_given_exactly_for_what_does_not_work(found: list[Finding]) -> None:
    assert [finding for finding in found if bool(finding.remedy) == finding.ok] == []
    assert [finding for finding in found if not finding.detail] == []


def test_what_labs_need_works_here_for_an_ordinary_user(tmp_path: Path) -> None:
    stranger = _stranger()
    found = {finding.name: finding for finding in _findings(_ALL, before=stranger, cwd=tmp_path.anchor)}
    assert [finding for finding in found.values() if finding.required and not finding.ok] == []
    assert found["user namespaces"].required
    assert str(ordinary_user.UID) in found["user namespaces"].detail
    assert found["state folder"].detail.endswith(f"lab-{ordinary_user.UID}")
    assert list(Path(found["state folder"].detail).glob("doctor-*")) == []


def test_a_state_folder_that_cannot_be_written_is_missing() -> None:
    stranger = _stranger()
    [folder] = _findings(_NAMED, "state folder", before=(*stranger, "XDG_RUNTIME_DIR=/proc"), cwd="/")
    assert not folder.ok
    assert "/proc/lab" in folder.detail
    assert "XDG_RUNTIME_DIR" in folder.remedy


def test_the_examination_leaves_the_machine_and_the_caller_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_MARK, str(os.getpid()))
    before = _state()
    examine()
    assert _state() == before
    wait_until(lambda: not _marked_processes(), timeout=5.0, what="every trial's process to be gone")


def test_a_trial_that_fails_says_why_and_what_mends_it(made_up: dict[str, Finding]) -> None:
    assert made_up["works"] == Finding("works", "made up", ok=True, required=True, detail="seen", remedy="")
    refused = made_up["refused"]
    assert not refused.ok
    assert (refused.detail, refused.remedy) == ("Operation not permitted", "the usual remedy")
    assert (made_up["knows better"].detail, made_up["knows better"].remedy) == ("no", "another remedy")
    assert not is_healthy(list(made_up.values()))


def test_an_unexpected_exception_is_a_finding(made_up: dict[str, Finding]) -> None:
    assert not made_up["surprise"].ok
    assert made_up["surprise"].detail.startswith("ZeroDivisionError: ")
    assert made_up["surprise"].remedy == "the usual remedy"


def test_a_trial_whose_process_dies_is_a_finding(made_up: dict[str, Finding]) -> None:
    assert not made_up["dies"].ok
    assert "-9" in made_up["dies"].detail


def test_a_detail_is_one_printable_line(made_up: dict[str, Finding]) -> None:
    detail = made_up["strange text"].detail
    assert detail.startswith("two lines, \\x1b[31mred, \\xfcx")
    assert detail.isprintable()
    assert len(detail) == 300


def test_a_wedged_trial_is_given_up_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(_MARK, str(os.getpid()))
    wedged = {finding.name: finding for finding in _findings(_MADE_UP)}["wedged"]
    assert not wedged.ok
    assert wedged.detail == "it hung, and was given up"
    assert wedged.remedy == "the usual remedy"
    wait_until(lambda: not _marked_processes(), timeout=5.0, what="the wedged process 1 to be gone")


def test_a_kernel_that_refuses_network_namespaces_is_found_out() -> None:
    found = _findings(_NO_NETWORK_NAMESPACES)
    network = [finding for finding in found if finding.group == "network"]
    assert network
    assert {finding.ok for finding in network} == {False}
    assert {finding.detail for finding in network} == {"net namespace: No space left on device"}
    assert {finding.remedy for finding in network} == {"sysctl -w user.max_net_namespaces=10000"}
    named = {finding.name: finding for finding in found}
    assert not named["network namespace"].ok
    assert named["mount tmpfs"].ok
    assert not is_healthy(found)


def test_too_few_descriptors_are_missing() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    done = subprocess.run(
        [sys.executable, "-P", "-c", _NAMED, "descriptors"], preexec_fn=limit, check=True, capture_output=True
    )
    [finding] = [Finding(**one) for one in json.loads(done.stdout)]
    assert not finding.ok
    assert finding.required
    assert "100 may be: enough for " in finding.detail
    assert finding.remedy.startswith("ulimit -Hn ")


@pytest.mark.parametrize(
    ("kind", "number", "settings", "remedy"),
    [
        (Clone.USER, errno.ENOSPC, {}, "sysctl -w user.max_user_namespaces="),
        (Clone.UTS, errno.EINVAL, {}, "CONFIG_UTS_NS"),
        (Clone.USER, errno.EPERM, {}, "run as root"),
        (
            Clone.USER,
            errno.EPERM,
            {"kernel.apparmor_restrict_unprivileged_userns": "1"},
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            Clone.USER,
            errno.EPERM,
            {"kernel.unprivileged_userns_clone": "0"},
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
    ],
)
def test_the_remedy_fits_the_reason_why_namespaces_are_refused(
    monkeypatch: pytest.MonkeyPatch, kind: Clone, number: int, settings: dict[str, str], remedy: str
) -> None:
    def read(key: str) -> str:
        try:
            return settings[key]
        except KeyError:
            raise FileNotFoundError(key) from None

    monkeypatch.setattr(sysctl, "read", read)
    assert remedy in arena._refusal(kind, OSError(number, "refused")).remedy


@pytest.mark.parametrize(
    ("answer", "ok"),
    [(b"HTTP/1.0 200 OK\r\n\r\nOK", True), (b"HTTP/1.0 500 Internal Server Error\r\n\r\n", False), (b"", False)],
)
def test_docker_is_there_when_its_daemon_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, answer: bytes, ok: bool
) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with _daemon(path, answer) as requests:
        [docker] = _findings(_NAMED, "Docker")
    assert docker.ok is ok
    assert not docker.required
    assert requests[0].startswith(b"GET /_ping HTTP/")
    assert bool(docker.remedy) is not ok


def test_without_a_docker_daemon_the_remedy_installs_or_starts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    [docker] = _findings(_NAMED, "Docker")
    assert not docker.ok
    assert docker.detail.endswith("nobody.sock: No such file or directory")
    assert "apt-get install docker.io" in docker.remedy


def test_a_docker_daemon_elsewhere_is_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    [docker] = _findings(_NAMED, "Docker")
    assert not docker.ok
    assert "tcp://192.0.2.1:2375" in docker.detail


def test_missing_tools_are_reported_with_the_package_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    tools = look_for_tools()
    assert {tool.ok for tool in tools} == {False}
    assert {tool.name: tool.remedy for tool in tools} == {
        "nsenter": "apt-get install util-linux",
        "ip": "apt-get install iproute2",
        "tcpdump": "apt-get install tcpdump",
        "tshark": "apt-get install tshark",
        "ping": "apt-get install iputils-ping",
        "nft": "apt-get install nftables",
        "ss": "apt-get install iproute2",
        "ethtool": "apt-get install ethtool",
        "traceroute": "apt-get install traceroute",
        "strace": "apt-get install strace",
    }
    assert {tool.detail for tool in tools} == {f"{tool.name} is not installed" for tool in tools}


def test_tools_that_are_there_are_shown_by_path() -> None:
    tools = look_for_tools(find=lambda name: f"/somewhere/{name}")
    assert {tool.ok for tool in tools} == {True}
    assert tools[0].detail == f"/somewhere/{tools[0].name}"


def test_trials_that_cannot_be_started_are_a_finding_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = examine()
    assert found[0].name == "trials"
    assert "/nowhere/python" in found[0].detail
    assert not is_healthy(found)


def test_only_what_is_required_decides_on_health() -> None:
    present = Finding("a", "g", ok=True, required=True, detail="", remedy="")
    absent = Finding("b", "g", ok=False, required=False, detail="", remedy="mend")
    missing = Finding("c", "g", ok=False, required=True, detail="", remedy="mend")
    assert is_healthy([present, absent])
    assert not is_healthy([present, absent, missing])


def test_the_table_is_aligned_and_names_everything(found: list[Finding]) -> None:
    table = render(found)
    lines = table.splitlines()
    starts = set()
    for finding in found:
        [row] = [line for line in lines if line.split("  ")[1:2] == [finding.name]]
        starts.add(row.rindex(finding.detail))
        if finding.remedy:
            below = lines[lines.index(row) + 1]
            assert below == " " * row.rindex(finding.detail) + f"-> {finding.remedy}"
    assert len(starts) == 1
    assert table.isascii()


def test_the_table_of_a_few_findings() -> None:
    found = [
        Finding("veth", "network", ok=True, required=True, detail="a pair is made", remedy=""),
        Finding("netem", "network", ok=False, required=False, detail="unknown", remedy="modprobe sch_netem"),
        Finding("ip", "tools", ok=False, required=True, detail="not installed", remedy="apt-get install iproute2"),
    ]
    assert render(found) == (
        "network\n"
        "  veth   ok       a pair is made\n"
        "  netem  absent   unknown\n"
        "                  -> modprobe sch_netem\n"
        "\n"
        "tools\n"
        "  ip     MISSING  not installed\n"
        "                  -> apt-get install iproute2\n"
        "\n"
        "labs cannot run here; missing: ip; absent, needed by some labs only: netem\n"
    )


def test_the_findings_survive_a_trip_through_json(found: list[Finding]) -> None:
    assert [Finding(**one) for one in json.loads(json.dumps(to_data(found)))] == found


@pytest.fixture(scope="module")
def made_up() -> dict[str, Finding]:
    return {finding.name: finding for finding in _findings(_MADE_UP)}


def _findings(script: str, *arguments: str, before: tuple[str, ...] = (), cwd: str | None = None) -> list[Finding]:
    command = [*before, sys.executable, "-P", "-c", script, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return [Finding(**one) for one in json.loads(done.stdout)]


def _stranger() -> tuple[str, ...]:
    """Return what turns a command into one of a user that this machine has never heard of."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return tuple(ordinary_user.command("env", "-u", "XDG_RUNTIME_DIR"))


def _state() -> dict[str, object]:
    """Return what an examination could have changed, of this process and of its namespaces."""
    namespaces = [path.readlink() for path in sorted(Path("/proc/self/ns").iterdir())]
    folder = registry.root()
    groups = [mount.split(" ")[1] for mount in Path("/proc/mounts").read_text().splitlines() if " cgroup" in mount]
    return {
        "interfaces": socket.if_nameindex(),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "namespaces": namespaces,
        "hostname": socket.gethostname(),
        "labs": sorted(path.name for path in folder.glob("doctor-*")),
        "groups": sorted(str(path) for group in groups for path in Path(group).rglob("lab-doctor-*")),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "uid": os.getresuid(),
    }


def _marked_processes() -> list[str]:
    """Return the command lines of the processes that were started with the mark; not ours, which got it later."""
    mark = f"{_MARK}={os.environ[_MARK]}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if mark in (path / "environ").read_bytes().split(b"\0"):
                found.append((path / "cmdline").read_text())
    return found


@contextlib.contextmanager
def _daemon(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Answer one request on the socket at `path`."""
    requests: list[bytes] = []
    with socket.create_server(str(path), family=socket.AF_UNIX) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                requests.append(connection.recv(1000))
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield requests
        thread.join(timeout=5)
