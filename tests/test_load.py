from __future__ import annotations

import errno
import os
import re
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lab.errors import TopologyError
from lab.load import load, loads, tree
from lab.spec import InterfaceSpec, NetworkSpec, Topology

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
ERRORS = sorted((ROOT / "tests" / "golden" / "errors").glob("*.yaml"))
VALID = [*(ROOT / "topologies").glob("*.yaml"), *(ROOT / "tests" / "golden" / "plans").glob("*.yaml")]
HOST = "name: lab\nnetworks: {lan: }\nnodes:\n  host:\n    networks: {lan: }\n"


@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.stem)
def test_a_wrong_file_gives_its_message(path: Path, golden: Callable[[Path, str], None]) -> None:
    message = _message(lambda: loads(path.read_bytes(), path.name))
    assert re.match(rf"{re.escape(path.name)}:\d+:\d+: .", message)
    golden(path.with_suffix(".txt"), f"{message}\n")


def test_every_message_belongs_to_a_wrong_file() -> None:
    texts = {path.stem for path in (ROOT / "tests" / "golden" / "errors").glob("*.txt")}
    assert texts == {path.stem for path in ERRORS}


def test_short_forms_mean_the_long_ones() -> None:
    topology = loads(HOST.replace("{lan: }\nnodes", "{lan: {subnet: 10.0.1.0/24}}\nnodes"))
    assert topology.networks["lan"] == NetworkSpec.model_validate({"subnet": ["10.0.1.0/24"]})
    assert topology.nodes["host"].networks["lan"] == InterfaceSpec()
    assert loads(HOST).networks["lan"] == NetworkSpec()


def test_an_address_may_be_written_in_three_ways() -> None:
    forms = ("10.0.1.9", "[10.0.1.9]", "{address: 10.0.1.9}")
    found = [loads(HOST.replace("    networks: {lan: }", f"    networks: {{lan: {form}}}")) for form in forms]
    assert found[0].nodes["host"].networks["lan"].address == (IPv4Address("10.0.1.9"),)
    assert found[0] == found[1] == found[2]


def test_both_families_may_be_given() -> None:
    text = HOST.replace("{lan: }\nnodes", '{lan: {subnet: [10.0.1.0/24, "fd00::/64"]}}\nnodes')
    assert loads(text).networks["lan"].subnet[1] == IPv6Network("fd00::/64")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("12:34", "12:34"),
        ("0x1F", "31"),
        ("0o17", "15"),
        ("010", "10"),
        ("1_000", "1_000"),
        ("2001-01-01", "2001-01-01"),
        ("=", "="),
        ("-7", "-7"),
        ('"true"', "true"),
        ("''", ""),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(written: str, kept: str) -> None:
    topology = loads(f"{HOST}    environment: {{A: {written}}}\n")
    assert topology.nodes["host"].environment == {"A": kept}


@pytest.mark.parametrize("written", ["true", "FALSE", "~", "null", "1.5", "1e3", ".inf", "-.INF", ".nan", ".5"])
def test_scalars_that_are_no_text_are_not_taken_for_text(written: str) -> None:
    assert "A: found" in _message(lambda: loads(f"{HOST}    environment: {{A: {written}}}\n"))


def test_true_in_a_sysctl_is_one() -> None:
    topology = loads(f"{HOST}    sysctls: {{net.ipv4.ip_forward: true, net.ipv4.tcp_rmem: 1 2 3}}\n")
    assert topology.nodes["host"].sysctls == {"net.ipv4.ip_forward": "1", "net.ipv4.tcp_rmem": "1 2 3"}


def test_a_mac_address_needs_no_quotes() -> None:
    topology = loads(HOST.replace("    networks: {lan: }", "    networks: {lan: {mac: 02:00:00:00:00:0A}}"))
    assert topology.nodes["host"].networks["lan"].mac == "02:00:00:00:00:0a"


def test_a_byte_order_mark_is_passed_over() -> None:
    assert loads(b"\xef\xbb\xbf" + HOST.encode()) == loads("\ufeff" + HOST) == loads(HOST)


def test_a_topology_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        loads(HOST).name = "other"


def test_reading_without_libyaml_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = [load(path) for path in VALID]
    monkeypatch.setattr(tree, "_LOADER", yaml.SafeLoader)
    assert [load(path) for path in VALID] == with_it


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(HOST, encoding="utf-8")
    assert load(path) == load(str(path)) == loads(HOST)


def test_a_message_begins_with_the_path_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab.yaml").write_text("nam: lab\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert _message(lambda: load("lab.yaml")).startswith('lab.yaml:1:1: nam: unknown key "nam"; did you mean "name"?')


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing.yaml", "no such file"),
        (".", "a directory"),
        ("/dev/zero", "no regular file"),
        ("fifo", "no regular file"),
        ("file/lab.yaml", "not a directory"),
        ("loop", "symbolic links"),
        ("zero\0byte", "null byte"),
        ("x" * 5000, "too long"),
    ],
    ids=["missing", "directory", "device", "fifo", "below-a-file", "loop", "zero-byte", "long"],
)
def test_what_is_no_file_is_refused_at_once(
    path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("file").touch()
    Path("loop").symlink_to("loop")
    assert reason in _message(lambda: load(path))


def test_an_unreadable_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    assert _message(lambda: load("lab.yaml")).startswith("lab.yaml: cannot be read: permission denied; ")


def test_a_huge_file_is_refused_without_reading_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(tree, "parse", None)  # it is not parsed either
    assert _message(lambda: load(path)).startswith(f"{path}: larger than 1 MiB; ")


def test_control_characters_in_a_path_are_escaped() -> None:
    assert _message(lambda: load("no\x1b[31m\nsuch")).startswith("no\\x1b[31m\\nsuch: ")


def test_thousands_of_problems_are_counted_and_the_first_is_told() -> None:
    nodes = "".join(f"  n{n}: {{gateway: m{n}}}\n" for n in range(5000))
    message = _message(lambda: loads(f"name: lab\nnodes:\n{nodes}"))
    assert message.startswith('<string>:3:17: nodes.n0.gateway: unknown node "m0"; ')
    assert message.endswith("(and 4999 more)")


def test_the_most_expensive_text_allowed_is_refused_with_one_line() -> None:
    for unit in ("[", "[],", "{a: ", "- ", "a: b\n", "'", "&a ", "? ", "\t", "\n", "x" * 100):
        _message(lambda unit=unit: loads(unit * (1024 * 1024 // len(unit))))  # type: ignore[misc]  # default


@settings(deadline=None)
@given(st.binary(max_size=300))
@example(b"\xff\xfe")
@example(b"%YAML 9.9\n---\n")
@example(b"%TAG ! !\n--- !\n")
def test_any_bytes_give_a_topology_or_a_line(content: bytes) -> None:
    _topology_or_line(content)


@settings(deadline=None)
@given(st.text(max_size=300))
@example("\ud800")
@example('name: "\\ud800"')
def test_any_text_gives_a_topology_or_a_line(content: str) -> None:
    _topology_or_line(content)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_mutated_file_gives_a_topology_or_a_line(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(sorted(VALID)))
    content = source.read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.integers(0, 12))
        pieces = [
            "",
            ": ",
            "- ",
            "\n",
            "  ",
            "{",
            "}",
            "[",
            "10.0.1.1",
            "fd00::1",
            "lan",
            "host",
            "~",
            "0",
            "x",
        ]
        content = content[:start] + data.draw(st.sampled_from(pieces) | st.text(max_size=3)) + content[end:]
    _topology_or_line(content)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["lan", "10.0.1.1", "a", "router"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "networks", "nodes", "lan", "a", "subnet", "address", "mtu", "mac"])
                | st.sampled_from(["gateway", "routes", "to", "via", "sysctls", "environment", "names", "kind"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_any_data_in_the_shape_of_a_topology_gives_a_topology_or_a_line(data: object) -> None:
    _topology_or_line(yaml.safe_dump(data))


def _topology_or_line(content: str | bytes) -> None:
    try:
        assert isinstance(loads(content), Topology)
    except TopologyError as error:
        _check_line(str(error))


def _message(call: Callable[[], object]) -> str:
    with pytest.raises(TopologyError) as caught:
        call()
    _check_line(str(caught.value))
    return str(caught.value)


def _check_line(message: str) -> None:
    assert message.isprintable()
    assert len(message) < 800
