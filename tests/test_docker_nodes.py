"""What a node of containers is: hardened, named, numbered, and with nothing of Docker's in its network."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.backends.docker.client import DockerBackend
from lab.backends.owned.client import running
from lab.running import Lab
from lab.wait import wait_until
from tests.docker_labs import container, network
from tests.small_labs import planned

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

THREE = """
name: three
networks:
  lan: {subnet: [10.71.1.0/24, "fd00:71:1::/64"]}
  far: {subnet: 10.71.2.0/24, mtu: 1400}
nodes:
  host: {networks: {lan: }}
  router:
    kind: router
    networks: {lan: , far: }
    environment: {node: "its own", where: here, may: june, PYTHONHOME: /nowhere}
  web:
    networks: {far: 10.71.2.80}
    services: {nginx: {pages: {index.html: found}}}
"""


@pytest.fixture(scope="module")
def lab(docker_backend: DockerBackend) -> Iterator[Lab]:
    with Lab.up(planned(THREE), docker_backend, shared=[Path.cwd()]) as made:
        yield made


def test_a_network_has_the_plans_subnets_and_no_way_out(lab: Lab, docker_client: DockerClient) -> None:
    found = network(docker_client, lab.name, "lan")
    assert [pool["Subnet"] for pool in found["IPAM"]["Config"]] == ["10.71.1.0/24", "fd00:71:1::/64"]
    assert (found["Driver"], found["Internal"]) == ("bridge", True)


def test_a_container_has_the_plans_addresses(lab: Lab, docker_client: DockerClient) -> None:
    networks = container(docker_client, lab.name, "router")["NetworkSettings"]["Networks"]
    addresses = {name: one["IPAddress"] for name, one in networks.items()}
    assert addresses == {f"lab-{lab.name}-lan": "10.71.1.2", f"lab-{lab.name}-far": "10.71.2.1"}
    assert container(docker_client, lab.name, "router")["Config"]["Labels"]["lab.addresses"].startswith(
        "eth0=10.71.1.2/24 "
    )


def test_all_that_a_lab_has_tells_whose_it_is(lab: Lab, docker_client: DockerClient) -> None:
    (facts,) = [one for one in running() if one.name == lab.name]
    for labels in (
        container(docker_client, lab.name, "web")["Config"]["Labels"],
        network(docker_client, lab.name, "far")["Labels"],
    ):
        assert labels["lab.name"] == lab.name
        assert labels["lab.owner"].startswith(f"{facts.owner}-")


def test_a_container_has_no_power_that_its_node_does_not_need(lab: Lab, docker_client: DockerClient) -> None:
    found = {node: container(docker_client, lab.name, node)["HostConfig"] for node in ("host", "router", "web")}
    for settings in found.values():
        assert settings["CapDrop"] == ["ALL"]
        assert settings["SecurityOpt"] == ["no-new-privileges"]
        assert settings["ReadonlyRootfs"]
        assert not settings["Privileged"]
        assert settings["PidsLimit"] > 0
        assert settings["Memory"] > 0
        assert settings["NanoCpus"] > 0
    assert found["router"]["CapAdd"] == ["NET_ADMIN"]
    assert "NET_ADMIN" in found["host"]["CapAdd"]
    assert "NET_ADMIN" not in found["web"]["CapAdd"]


def test_a_program_of_a_lab_is_held_by_the_same_bounds_as_one_of_docker_exec(
    lab: Lab, docker_client: DockerClient
) -> None:
    for node in ("host", "router", "web"):
        ours = lab[node].run("cat", "/proc/self/status", "/proc/self/cgroup", cwd=Path("/")).check().stdout
        job = docker_client.api.exec_create(f"lab-{lab.name}-{node}", ["cat", "/proc/self/status", "/proc/self/cgroup"])
        theirs = docker_client.api.exec_start(job["Id"]).decode()
        wanted = ("CapBnd", "CapEff", "CapInh", "NoNewPrivs", "Seccomp", "Uid")
        assert _bounds(ours, wanted) == _bounds(theirs, wanted)


def test_a_program_that_is_entered_is_held_by_them_too(lab: Lab) -> None:
    done = subprocess.run(
        [*lab.backend.entrance("router"), "cat", "/proc/self/status"], capture_output=True, text=True, check=True
    )
    ours = lab["router"].run("cat", "/proc/self/status", cwd=Path("/")).stdout
    wanted = ("CapBnd", "NoNewPrivs", "Seccomp")
    assert _bounds(done.stdout, wanted) == _bounds(ours, wanted)


def test_a_program_that_is_entered_has_the_callers_environment_with_the_nodes_on_top_whatever_the_names(
    lab: Lab,
) -> None:
    callers = {"where": "there", "node": "mine", "owner": "me", "PYTHON": "monty"}
    nodes = {"node": "its own", "where": "here", "may": "june", "PYTHONHOME": "/nowhere"}
    done = subprocess.run(
        [*lab.backend.entrance("router"), "env"], env=os.environ | callers, capture_output=True, text=True, check=True
    )
    wanted = callers | nodes
    seen = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.split("=")[0] in wanted)
    assert seen == wanted


def test_a_program_that_is_entered_ends_with_who_has_entered(lab: Lab) -> None:
    entrant = subprocess.Popen([*lab.backend.entrance("host"), "sleep", "4321"])

    def runs() -> bool:
        return ["sleep", "4321"] in [program["command"] for program in lab.backend.processes()]

    try:
        wait_until(runs, timeout=10, what="the program to run")
    finally:
        entrant.kill()
        entrant.wait()
    wait_until(lambda: not runs(), timeout=10, what="the program to end")


def test_a_program_of_the_machine_in_a_nodes_network_is_none_of_the_labs(lab: Lab, docker_client: DockerClient) -> None:
    inside = container(docker_client, lab.name, "host")["State"]["Pid"]
    command = ["nsenter", f"--net=/proc/{inside}/ns/net", "sh", "-c", "echo here; read -r _"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout
        assert stranger.stdout.readline() == b"here\n"
        with lab["host"].start("sleep", "4322"):
            commands = [program["command"] for program in lab.backend.processes() if program["node"] == "host"]
        stranger.communicate()
    assert commands == [["sleep", "4322"]]


def test_an_entered_programs_end_by_a_signal_is_told_as_a_shell_does(lab: Lab) -> None:
    done = subprocess.run([*lab.backend.entrance("host"), "sh", "-c", "kill -TERM $$"], check=False)
    assert done.returncode == 128 + signal.SIGTERM


def test_the_image_of_a_node_cannot_be_written(lab: Lab) -> None:
    done = lab["host"].run("touch", "/etc/mine", cwd=Path("/"))
    assert "Read-only file system" in done.stderr


def test_nothing_of_dockers_is_in_a_nodes_network(lab: Lab) -> None:
    host = lab["host"]
    assert host.sockets("tcp") == host.sockets("udp") == []
    assert host.run("nft", "list", "ruleset", cwd=Path("/")).check().stdout == ""
    routes = host.run("ip", "-4", "route", cwd=Path("/")).check().stdout
    assert routes.count("\n") == 2
    assert "default via 10.71.1.2 dev eth0" in routes
    assert host.run("cat", "/etc/hosts", cwd=Path("/")).stdout == lab.plan.hosts_file


def test_nobody_on_a_network_has_dockers_own_address(lab: Lab, docker_client: DockerClient) -> None:
    own = network(docker_client, lab.name, "lan")["IPAM"]["Config"][0]["Gateway"]
    assert lab["host"].ping(own, timeout=0.2).received == 0


def test_the_logs_of_services_are_in_dockers_too(lab: Lab, docker_client: DockerClient) -> None:
    lab["host"].run("curl", "-s", "http://10.71.2.80/", cwd=Path("/")).check()
    wait_until(
        lambda: b"GET / HTTP" in docker_client.api.logs(f"lab-{lab.name}-web"),
        timeout=10,
        what="docker logs to tell of it",
    )
    assert "GET / HTTP" in lab["web"].services["nginx"].log.read_text()


def test_a_filter_is_compiled_where_the_node_has_no_compiler(lab: Lab) -> None:
    with lab["web"].capture("eth0", expression="icmp") as capture:
        lab["host"].ping("10.71.2.80")
    assert len(capture.trace) == 2


def _bounds(status: str, wanted: tuple[str, ...]) -> set[str]:
    return {line for line in status.splitlines() if line.startswith(wanted) or "/docker/" in line}
