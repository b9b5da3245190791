"""A wire where this user may have neither of what one is made of. As root and as an ordinary user."""

from __future__ import annotations

import subprocess
import uuid

import pytest

from tests import without_wires
from tests.users import LAB, User

pytestmark = pytest.mark.skipif(not without_wires.is_possible(), reason="whose system calls nobody has written down")

WIRED = """
name: wired
networks: {lan: }
nodes:
  a: {networks: {lan: {wire: true}}}
  b: {networks: {lan: }}
"""


def up_without_wires(user: User, topology: str, name: str) -> subprocess.CompletedProcess[str]:
    path = user.temporary / "topology.yaml"
    path.write_text(topology)
    return user.run(*user.module("without_wires", LAB, "up", str(path), "--name", name))


def test_a_wire_with_neither_taps_nor_packet_sockets_is_refused_in_one_line_and_leaves_nothing(user: User) -> None:
    name = f"t-{uuid.uuid4().hex[:12]}"
    done = up_without_wires(user, WIRED, name)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "lab: interface eth0 (p0): a programmable wire needs /dev/net/tun or packet sockets, "
        "and this user may have neither; `lab doctor` says what would allow it\n"
    )
    assert user.processes() == {}
    assert not (user.labs / name).exists()


def test_a_lab_without_wires_needs_neither_of_them(user: User) -> None:
    name = f"t-{uuid.uuid4().hex[:12]}"
    done = up_without_wires(user, WIRED.replace("wire: true", ""), name)
    assert done.returncode == 0, done.stderr
    assert user.lab("down", name).returncode == 0


def test_the_doctor_says_what_would_allow_a_wire(user: User) -> None:
    done = user.run(*user.module("without_wires", LAB, "doctor"))
    assert "neither TAP devices nor packet sockets" in done.stdout
    assert "chmod 0666 /dev/net/tun" in done.stdout
