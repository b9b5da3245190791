"""`lab capture`: live, into files and pipes, and how it ends."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.backends.netns.client import NetnsBackend
from lab.running import Lab
from lab.trace.pcap import read_pcap
from tests.commands import COMMAND, Said, call, execute, new_name


@contextlib.contextmanager
def capturing(*arguments: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """`lab capture`, armed by the time the block is entered."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [COMMAND, "capture", *arguments], stdout=stdout, stderr=subprocess.PIPE, env=buffered
    ) as capture:
        try:
            assert capture.stderr
            assert capture.stderr.readline().startswith(b"capturing on ")
            yield capture
        finally:
            capture.kill()


def test_capture_prints_packets_until_the_count(lab_name: str, running_lab: Lab) -> None:
    with capturing("--lab", lab_name, "left:eth0", "-c", "4", "icmp") as capture:
        running_lab["left"].ping(running_lab["right"].address(), count=3)
        out, err = capture.communicate(timeout=10)
    lines = out.decode().splitlines()
    assert (capture.returncode, len(lines)) == (0, 4)
    assert lines[0].startswith("0.000000 left:eth0 > 10.0.1.1 > 10.0.1.2: icmp echo_request")
    assert lines[3].split()[1:6] == ["left:eth0", "<", "10.0.1.2", ">", "10.0.1.1:"]
    assert err == b"4 packets captured, 0 dropped by the kernel\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_capture_sums_up_when_it_is_interrupted(lab_name: str, running_lab: Lab, number: signal.Signals) -> None:
    with capturing("--lab", lab_name, "left", "icmp") as capture:
        running_lab["left"].ping(running_lab["right"].address())
        capture.send_signal(number)
        out, err = capture.communicate(timeout=10)
    assert (capture.returncode, out.count(b"\n")) == (0, 2)
    assert err == b"2 packets captured, 0 dropped by the kernel\n"


def test_capture_writes_a_file(lab_name: str, running_lab: Lab, tmp_path: Path) -> None:
    with capturing("--lab", lab_name, "left", "icmp", "-w", str(tmp_path / "a.pcap"), "-c", "2") as capture:
        running_lab["left"].ping(running_lab["right"].address())
        out, _ = capture.communicate(timeout=10)
    assert out == b""
    assert len(list(read_pcap(tmp_path / "a.pcap"))) == 2


def test_capture_writes_into_a_pipe(lab_name: str, running_lab: Lab, tmp_path: Path) -> None:
    with capturing("--lab", lab_name, "left", "-w", "-", "icmp") as capture:
        running_lab["left"].ping(running_lab["right"].address())
        assert capture.stdout
        assert select.select([capture.stdout], [], [], 10)[0], "nothing comes while the capture goes on"
        capture.send_signal(signal.SIGINT)
        out, _ = capture.communicate(timeout=10)
    (tmp_path / "a.pcap").write_bytes(out)
    assert len(list(read_pcap(tmp_path / "a.pcap"))) == 2


def test_capture_ends_when_nobody_reads(lab_name: str, running_lab: Lab) -> None:
    with capturing("--lab", lab_name, "left", "icmp") as capture:
        assert capture.stdout
        capture.stdout.close()
        running_lab["left"].ping(running_lab["right"].address())
        assert capture.wait(timeout=10) == 0
        assert capture.stderr
        assert b"Traceback" not in capture.stderr.read()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["left:eth7"], 2, "lab: cannot capture on left:eth7 (No such device)"),
        (["nobody"], 2, 'lab: no node named "nobody"'),
        (["left", "prot tcp"], 2, 'lab: filter "prot tcp": '),
        (["left", "-w", "/no/such/folder/a.pcap"], 2, "lab: cannot write /no/such/folder/a.pcap: No such file"),
        (["left", "-c", "0"], 2, "lab capture: argument -c/--count: invalid"),
        (["left", "--colour"], 2, "lab: --colour is not known here"),
    ],
)
def test_capture_says_what_it_cannot_do(lab_name: str, words: Sequence[str], code: int, said: str) -> None:
    found = execute("capture", "--lab", lab_name, *words)
    assert (found.code, found.out) == (code, "")
    assert found.err.splitlines()[-1].startswith(said)
    assert "Traceback" not in found.err


def test_a_missing_tool_is_named_with_its_package(lab_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    said = call("capture", "--lab", lab_name, "left", "icmp")
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])
    assert said == Said(3, "", "lab: tcpdump is not installed; install it: apt-get install tcpdump\n")


def test_capture_ends_with_the_lab(two_hosts_file: Path) -> None:
    name = new_name()
    assert call("up", str(two_hosts_file), "--name", name).code == 0
    with capturing("--lab", name, "left", "icmp") as capture:
        Lab(NetnsBackend().attach(name))["left"].ping("10.0.1.2")
        assert call("down", name).code == 0
        out, err = capture.communicate(timeout=10)
    assert (capture.returncode, out.count(b"\n")) == (0, 2)
    assert err == b"2 packets captured, 0 dropped by the kernel\n"
