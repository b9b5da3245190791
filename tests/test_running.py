"""What the objects of a running lab do, on the fake backend where that is enough."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import running
from lab.backends.fake import Answer, Call, FakeBackend
from lab.errors import BackendError, NotSupportedError, ProbeError, UsageError, WaitTimeoutError
from lab.probes import raw
from lab.pytest_plugin import Labs
from lab.running import Lab
from tests.small_labs import ROUTED, TWO_HOSTS, fake_lab, planned, up


@pytest.fixture
def routed(labs: Labs) -> Iterator[Lab]:
    with up(ROUTED, labs.backend) as made:
        yield made


def test_nodes_come_in_the_files_order_and_stay_the_same_objects() -> None:
    lab, _ = fake_lab()
    assert [node.name for node in lab] == ["left", "right"]
    assert lab["left"] is lab["left"]


def test_an_unknown_node_is_named_with_those_that_there_are() -> None:
    lab, _ = fake_lab()
    with pytest.raises(UsageError, match=f'no node named "lift"; lab "{lab.name}" has left, right'):
        lab["lift"]


def test_a_node_tells_its_address_of_either_version() -> None:
    lab, _ = fake_lab(text=ROUTED)
    assert lab["client"].address() == "10.0.1.1"
    assert lab["client"].address("lan", version=6) == "fd00:1::1"
    assert lab["router"].address("narrow") == "10.0.2.1"


def test_a_node_on_several_networks_must_be_asked_for_one() -> None:
    lab, _ = fake_lab(text=ROUTED)
    with pytest.raises(UsageError, match='"router" is on lan, narrow; name the network that you mean'):
        lab["router"].address()


def test_a_node_has_no_address_on_a_network_that_it_is_not_on() -> None:
    lab, _ = fake_lab(text=ROUTED)
    with pytest.raises(UsageError, match='"client" is on lan; not on "narrow"'):
        lab["client"].address("narrow")


def test_a_node_on_no_network_says_so() -> None:
    lab, _ = fake_lab(text="{name: alone, nodes: {island: {}}}")
    with pytest.raises(UsageError, match='"island" is on no network; name the network'):
        lab["island"].address()


def test_a_missing_version_is_said() -> None:
    lab, _ = fake_lab(text="{name: four, networks: {lan: }, nodes: {left: {networks: {lan: }}}}")
    with pytest.raises(UsageError, match='"left" has no IPv6 address on "lan"'):
        lab["left"].address(version=6)


def test_a_program_gets_the_callers_environment_then_the_nodes_then_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CALLERS", "kept")
    monkeypatch.setenv("COLOUR", "white")
    seen: list[Call] = []

    def program(call: Call) -> Answer:
        seen.append(call)
        return Answer()

    lab, _ = fake_lab({("program",): program})
    lab["left"].run("program", environment={"SHAPE": "square"})
    assert {key: seen[0].environment[key] for key in ("CALLERS", "COLOUR", "SHAPE")} == {
        "CALLERS": "kept",
        "COLOUR": "green",
        "SHAPE": "square",
    }
    assert seen[0].cwd == Path.cwd()


def test_run_gives_up_on_a_program_and_ends_it() -> None:
    lab, _ = fake_lab({("serve",): Answer(exit_code=None)})
    with pytest.raises(WaitTimeoutError, match="left: serve still runs after 3 s"):
        lab["left"].run("serve", timeout=3)
    assert lab.backend.processes() == []


def test_what_was_started_is_stopped_before_the_lab_goes_down() -> None:
    lab, backend = fake_lab({("serve",): Answer(exit_code=None)})
    with lab:
        process = lab["left"].start("serve")
    assert process.exit_code == -15
    assert backend.record[-1][0] == "down"


def test_an_error_in_the_block_takes_the_lab_down_too() -> None:
    lab, backend = fake_lab()
    with pytest.raises(ZeroDivisionError), lab:
        raise ZeroDivisionError
    assert backend.running() == []


class CountingBackend(FakeBackend):
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_backend_of_the_labs_own_is_closed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CountingBackend()
    monkeypatch.setattr(running, "NetnsBackend", lambda: backend)
    with Lab.up(planned(TWO_HOSTS)):
        assert backend.closed == 0
    assert backend.closed == 1


def test_a_backend_of_the_labs_own_is_closed_if_the_lab_cannot_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CountingBackend(failing_step="networks")
    monkeypatch.setattr(running, "NetnsBackend", lambda: backend)
    with pytest.raises(BackendError, match="networks: fails"):
        Lab.up(planned(TWO_HOSTS))
    assert backend.closed == 1


def test_a_backend_of_the_labs_own_is_closed_if_the_lab_is_down_already(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CountingBackend()
    monkeypatch.setattr(running, "NetnsBackend", lambda: backend)
    lab = Lab.up(planned(TWO_HOSTS))
    backend.attach(lab.name).down()
    with pytest.raises(UsageError, match="no lab named"):
        lab.down()
    assert backend.closed == 1


def test_a_backend_for_many_labs_is_left_open() -> None:
    backend = CountingBackend()
    with Lab.up(planned(TWO_HOSTS), backend):
        pass
    assert backend.closed == 0


def test_a_target_is_an_interface_or_all_of_a_nodes() -> None:
    lab, _ = fake_lab(text=ROUTED)
    assert lab.targets("router", "client:eth0") == [("router", "eth0"), ("router", "eth1"), ("client", "eth0")]
    with pytest.raises(UsageError, match='no node named "nobody"'):
        lab.targets("nobody:eth0")


def test_a_sysctl_may_be_set_to_a_number() -> None:
    lab, backend = fake_lab()
    assert lab["left"].sysctl("net.ipv4.ip_default_ttl", 9) == "9"
    assert backend.record[-1] == ("sysctl", "left", "net.ipv4.ip_default_ttl", "9")


def test_a_route_is_asked_of_the_nodes_own_kernel() -> None:
    found = {"dst": "10.0.1.2", "dev": "eth0"}
    lab, _ = fake_lab({("ip", "-json", "route", "get", "10.0.1.2"): Answer(stdout=json.dumps([found]))})
    assert lab["left"].route_to("10.0.1.2") == found


def test_a_socket_is_asked_of_the_backend_with_all_that_it_is_to_be() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lab, backend = fake_lab(open_socket=lambda *_: ours)
        assert lab["left"].socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) is ours
    assert backend.record[-1] == ("socket", "left", "2", "3", "1", "0")


def test_a_fake_lab_says_that_it_has_no_sockets() -> None:
    lab, _ = fake_lab()
    with pytest.raises(NotSupportedError, match="open_socket"):
        lab["left"].ping("10.0.1.2")


@pytest.mark.parametrize("version", [4, 6])
def test_a_ping_is_answered_across_a_router(routed: Lab, version: int) -> None:
    pings = routed["client"].ping(routed["server"].address(version=version), count=3)
    assert pings.received == 3
    assert [echo.sequence for echo in pings.echoes] == [1, 2, 3]
    assert all(echo.round_trip and 0 < echo.round_trip < 1 for echo in pings.echoes)


def test_a_ping_to_nobody_is_not_answered(routed: Lab) -> None:
    pings = routed["client"].ping("10.0.1.99", timeout=0.05)
    assert (pings.received, pings.echoes[0].round_trip) == (0, None)


def test_a_ping_without_a_route_says_why_it_cannot_be_sent(routed: Lab) -> None:
    routed["client"].run("ip", "route", "del", "default").check()
    with pytest.raises(ProbeError, match=r"cannot send an echo request to 8\.8\.8\.8: Network is unreachable"):
        routed["client"].ping("8.8.8.8")


def test_a_packet_made_by_hand_claims_what_source_it_likes(routed: Lab) -> None:
    client, server = routed["client"], routed["server"]
    assert client.ping(server.address()).received == 1
    with server.capture("eth0", expression="udp") as capture:
        client.send_packet(raw.udp_packet(("10.0.1.77", 1), (server.address(), 2), b"lies"))
        client.ping(server.address())
    (packet,) = capture.trace
    assert packet.ip
    assert (packet.ip.src, packet.payload) == ("10.0.1.77", b"lies")
