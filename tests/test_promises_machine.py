"""Promise 1: the machine is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.command import find_tool
from tests.machine import differences, snapshot
from tests.users import PROJECT, User

DUAL_STACK = str(PROJECT / "topologies" / "dual-stack.yaml")


@pytest.mark.parametrize("topology", ["redirect", "dual-stack"])
def test_nothing_of_a_running_lab_shows_on_the_machine(user: User, topology: str) -> None:
    before = snapshot()
    name = user.up(str(PROJECT / "topologies" / f"{topology}.yaml"))
    assert differences(before, snapshot()) == ""
    assert list(user.temporary.iterdir()) == []
    assert sorted(path.name for path in (user.labs / name).iterdir()) == [
        "control.sock",
        "enter",
        "lock",
        "nodes",
        "owner.json",
        "plan.json",
    ]
    assert list((user.labs / name / "nodes").iterdir()) == []
    user.lab("down", name)


def test_nothing_is_left_on_the_machine_after_a_lab(user: User) -> None:
    before = snapshot()
    name = user.up(DUAL_STACK)
    node = "client"
    assert user.lab("exec", "--lab", name, node, "--", "sysctl", "-w", "net.ipv4.ip_default_ttl=7").returncode == 0
    assert user.lab("exec", "--lab", name, node, "--", "ip", "link", "add", "v0", "type", "veth").returncode == 0
    assert user.lab("exec", "--lab", name, node, "--", "hostname", "changed").returncode == 0
    assert user.lab("exec", "--lab", name, node, "--", "sh", "-c", "echo changed >/etc/hosts").returncode == 0
    assert user.lab("down", name).returncode == 0
    assert differences(before, snapshot()) == ""
    assert user.processes() == {}
    assert list(user.temporary.iterdir()) == []
    assert not (user.labs / name).exists()
    assert user.is_root or not user.labs.exists()


def test_only_the_user_can_look_into_the_folder_of_a_lab(user: User) -> None:
    name = user.up()
    assert (user.labs.stat().st_mode & 0o777, (user.labs / name).stat().st_mode & 0o777) == (0o700, 0o700)
    user.lab("down", name)


CHANGES = {
    "links": "ip link add stray type bridge",
    "addresses": "ip address add 192.0.2.1/32 dev lo",
    "routes": "ip link set lo up && ip route add 192.0.2.1/32 dev lo",
    "rules": "ip rule add from 192.0.2.1 lookup 7",
    "IPv6 rules": "ip -6 rule add from 2001:db8::1 lookup 7",
    "nft": "nft add table inet stray",
    "named namespaces": "mkdir -p /run/netns && touch /run/netns/stray",
    "sysctls": "echo 7 >/proc/sys/net/ipv4/ip_default_ttl",
    "mounts": "mount -t tmpfs none /mnt",
    "hostname": "hostname stray",
}


def test_a_session_that_changes_the_machine_fails_and_says_what_changed(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root, to be in namespaces of its own as on a machine")
    test = tmp_path / "test_stray.py"
    script = f"set -e; {'; '.join(CHANGES.values())}"
    test.write_text(f"import subprocess\ndef test(): subprocess.run(['sh', '-c', {script!r}], check=True)\n")
    arguments = ["-p", "tests.machine", "-p", "no:cacheprovider", "-p", "no:xdist", str(test)]
    secluded = [find_tool("unshare"), "--net", "--mount", "--uts", "--", "sh", "-c"]
    secluded += ['mount -t tmpfs none /run && exec "$@"', "sh", sys.executable, "-P", "-m", "pytest"]
    done = subprocess.run([*secluded, *arguments], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert "1 passed" in done.stdout
    assert done.returncode == 1
    _, _, said = done.stdout.partition("the machine is not as it was before these tests")
    assert {what for what in CHANGES if f"\n{what}: +" in said} == set(CHANGES)
