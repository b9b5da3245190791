"""Labs of containers in trouble: what a person is told, and that nothing is left."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docker.types import IPAMConfig, IPAMPool
from requests import ConnectionError as RequestsConnectionError

from lab.backends.docker import labels
from lab.backends.docker.client import DockerBackend
from lab.backends.docker.daemon import connect, doing
from lab.backends.owned import registry
from lab.errors import BackendError, NotSupportedError, UsageError
from lab.plan.model import Plan
from lab.running import Lab
from lab.wait import wait_until
from tests.commands import call, execute
from tests.docker_labs import at_daemon, container, left, network
from tests.small_labs import TWO_HOSTS, planned

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

ELSEWHERE = TWO_HOSTS.replace("10.0.1.0/24", "10.73.1.0/24").replace("fd00:1::/64", "fd00:73::/64")


@contextmanager
def docker_network(client: DockerClient, name: str, subnet: str, own: Mapping[str, str] | None = None) -> Iterator[str]:
    """Have a network with these labels, and give its id."""
    ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
    made = client.api.create_network(name, ipam=ipam, labels=dict(own or {}))
    try:
        yield made["Id"]
    finally:
        client.api.remove_network(made["Id"])


def test_labs_with_the_same_subnets_are_up_at_once(docker_backend: DockerBackend, docker_client: DockerClient) -> None:
    text = ELSEWHERE.replace("10.73.", "10.76.").replace("fd00:73:", "fd00:76:")  # free: no other test has these
    first, second = planned(text), planned(text)
    with Lab.up(first, docker_backend), Lab.up(second, docker_backend) as other:
        subnets = [network(docker_client, plan.name, "lan")["IPAM"]["Config"][0]["Subnet"] for plan in (first, second)]
        assert subnets[0] == "10.76.1.0/24"
        assert subnets[1].startswith(("198.18.", "198.19."))
        assert other["left"].ping(other["right"].address()).received == 1
        assert "10.76.1.1/24" in container(docker_client, second.name, "left")["Config"]["Labels"]["lab.addresses"]


def test_a_subnet_that_leaves_docker_no_address_is_possible_all_the_same(docker_backend: DockerBackend) -> None:
    text = (
        "name: two\nnetworks: {wire: {subnet: 10.74.1.0/31}}\nnodes: {a: {networks: {wire: }}, b: {networks: {wire: }}}"
    )
    with Lab.up(planned(text), docker_backend) as lab:
        assert lab["a"].ping(lab["b"].address()).received == 1


def test_a_subnet_of_a_network_that_is_no_labs_is_refused(
    docker_backend: DockerBackend, docker_client: DockerClient
) -> None:
    plan, name = planned(TWO_HOSTS.replace("10.0.1.0/24", "10.75.1.0/24")), f"others-{uuid.uuid4().hex[:8]}"
    said = f'network "lan": its subnet 10.75.1.0/24 overlaps 10.75.0.0/16 of the Docker network "{name}"; '
    with docker_network(docker_client, name, "10.75.0.0/16"), pytest.raises(BackendError, match=said):
        docker_backend.up(plan)
    assert left(docker_client, plan) == []


def test_the_name_of_a_container_that_is_no_labs_is_refused(
    docker_backend: DockerBackend, docker_client: DockerClient
) -> None:
    plan = planned(ELSEWHERE)
    name = f"lab-{plan.name}-right"
    (image,) = docker_client.api.images(name="lab/toolbox")[:1]
    made = docker_client.api.create_container(image["Id"], name=name)
    try:
        with pytest.raises(BackendError, match=f"node right: there is a container {name} already"):
            docker_backend.up(plan)
        assert left(docker_client, plan) == []
    finally:
        docker_client.api.remove_container(made["Id"])


def test_an_image_that_is_nowhere_is_named_with_its_node(
    docker_backend: DockerBackend, docker_client: DockerClient
) -> None:
    good = planned(ELSEWHERE)
    plan = replace(good, nodes=(good.nodes[0], replace(good.nodes[1], image="localhost:1/nobody/nothing:1")))
    with pytest.raises(BackendError, match=r"^node right: image localhost:1/nobody/nothing:1: ") as raised:
        docker_backend.up(plan)
    assert "\n" not in str(raised.value)
    assert left(docker_client, plan) == []


def test_an_image_of_ones_own_is_what_the_node_runs(docker_backend: DockerBackend, docker_client: DockerClient) -> None:
    (image,) = docker_client.api.images(name="lab/squid")[:1]
    good = planned(ELSEWHERE)
    plan = replace(good, nodes=(replace(good.nodes[0], image=image["RepoTags"][0]), good.nodes[1]))
    with Lab.up(plan, docker_backend) as lab:
        assert lab["left"].run("squid", "-v", cwd=Path("/")).check().stdout.startswith("Squid Cache")
        assert lab.backend.find("right", "squid", "/usr/bin:/usr/sbin") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user is told of root before anything else")
def test_a_daemon_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    backend, plan = DockerBackend(), planned(ELSEWHERE)
    with pytest.raises(NotSupportedError, match=r"no Docker daemon answers at unix:///nowhere/docker\.sock"):
        backend.up(plan)
    backend.close()
    assert plan.name not in registry.names()


def test_a_daemon_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    backend = DockerBackend()
    with pytest.raises(NotSupportedError, match=r"tcp://192\.0\.2\.1:2375 may be on another machine"):
        backend.up(planned(ELSEWHERE))
    backend.close()


def test_a_container_that_has_gone_is_told_to_who_wants_to_run_something(
    docker_backend: DockerBackend, docker_client: DockerClient
) -> None:
    plan = planned(ELSEWHERE)
    with Lab.up(plan, docker_backend) as lab:
        docker_client.api.kill(f"lab-{plan.name}-left")
        with pytest.raises(BackendError, match="left: its container has ended"):
            lab["left"].run("true", cwd=Path("/"))
        assert lab["right"].run("true", cwd=Path("/")).exit_code == 0
    assert left(docker_client, plan) == []


def facts(plan: Plan) -> dict[str, int]:
    return registry.owner_of(plan.name)


def test_a_killed_owner_takes_containers_and_networks_along(
    docker_backend: DockerBackend, docker_client: DockerClient
) -> None:
    plan = planned(ELSEWHERE)
    docker_backend.up(plan, detached=True)
    os.kill(facts(plan)["owner"], signal.SIGKILL)
    wait_until(lambda: not left(docker_client, plan), timeout=30, what="the lab to go")


def test_a_killed_guard_takes_them_along_as_well(docker_backend: DockerBackend, docker_client: DockerClient) -> None:
    plan = planned(ELSEWHERE)
    docker_backend.up(plan, detached=True)
    os.kill(facts(plan)["guard"], signal.SIGKILL)
    wait_until(lambda: not left(docker_client, plan), timeout=30, what="the lab to go")


@pytest.mark.parametrize("moment", ["docker networks", "node left", "node right", "home"])
def test_an_owner_that_is_killed_while_it_builds_leaves_nothing(
    docker_backend: DockerBackend, docker_client: DockerClient, moment: str
) -> None:
    plan = planned(ELSEWHERE)

    def kill(step: str) -> None:
        if step == moment:
            os.kill(facts(plan)["owner"], signal.SIGKILL)

    try:
        lab = docker_backend.up(plan, on_step=kill)
    except BackendError as error:
        assert "its owner ended before the lab was up" in str(error)  # noqa: PT017 - there may be none
    else:
        assert moment == "home"  # the last step: the lab may be up before its client has heard of it
        with suppress(UsageError):  # its guard has cleared up already
            lab.down()
    assert left(docker_client, plan) == []


def orphaned(docker_backend: DockerBackend) -> Plan:
    """Return the plan of a lab whose owner and guard have been killed at once."""
    plan = planned(ELSEWHERE)
    docker_backend.up(plan, detached=True)
    found = facts(plan)
    os.kill(found["guard"], signal.SIGSTOP)
    for process in ("owner", "guard"):
        os.kill(found[process], signal.SIGKILL)
    wait_until(lambda: plan.name not in registry.names(), timeout=10, what="the lab's processes to end")
    return plan


def test_what_dead_labs_have_left_is_collected_when_the_next_comes_up(
    docker_backend: DockerBackend, docker_client: DockerClient
) -> None:
    plan = orphaned(docker_backend)
    assert len(left(docker_client, plan)) == 3
    docker_backend.up(planned(TWO_HOSTS)).down()
    assert left(docker_client, plan) == []


def test_what_dead_labs_have_left_is_collected(docker_backend: DockerBackend, docker_client: DockerClient) -> None:
    plan = orphaned(docker_backend)
    living = docker_backend.up(planned(TWO_HOSTS))
    docker_backend.collect()
    assert left(docker_client, plan) == []
    assert len(left(docker_client, living.plan)) == 4
    living.down()


def test_down_all_collects_too(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[str] = []
    monkeypatch.setattr(registry, "names", list)  # other tests' labs are none of this one's
    monkeypatch.setattr(DockerBackend, "collect", lambda backend: collected.append(backend.name))
    assert call("down", "--all").code == 0
    assert collected == ["docker"]


def test_an_owner_counts_as_dead_when_its_number_is_anothers_or_the_machine_was_booted() -> None:
    mine = labels.mine("mine")
    assert not mine.is_dead
    assert replace(mine, process=f"{os.getpid()}-1").is_dead
    assert replace(mine, machine=mine.machine.replace("-", "0")).is_dead
    boot, _, _numbering = mine.machine.partition(" ")
    assert not replace(mine, process="1-1", machine=f"{boot} pid:[1]").is_dead


@pytest.mark.parametrize(("process", "machine"), [("", ""), ("somebody", "else"), ("1-", "a b"), ("1-1", "rack 3")])
def test_nobody_is_dead_of_whom_labels_tell_otherwise_than_ours(process: str, machine: str) -> None:
    assert not labels.Lab("mine", process, machine).is_dead


def test_what_has_but_the_name_of_a_lab_is_left_alone(
    docker_backend: DockerBackend, docker_client: DockerClient
) -> None:
    dead = replace(labels.mine(f"others-{uuid.uuid4().hex[:8]}"), process=f"{os.getpid()}-1")
    others = ({labels.LAB: dead.name}, {labels.LAB: dead.name, "lab.owner": dead.process, "lab.machine": "rack 3"})
    (image,) = docker_client.api.images(name="lab/toolbox")[:1]
    made = docker_client.api.create_container(image["Id"], labels={labels.LAB: dead.name})
    try:
        with (
            docker_network(docker_client, f"{dead.name}-1", "10.77.1.0/24", others[0]) as first,
            docker_network(docker_client, f"{dead.name}-2", "10.77.2.0/24", others[1]) as second,
        ):
            docker_backend.collect()
            assert set(at_daemon(docker_client, dead.name)) == {made["Id"], first, second}
    finally:
        docker_client.api.remove_container(made["Id"])


def test_what_a_dead_lab_has_left_goes_and_what_a_living_one_of_its_name_has_stays(
    docker_backend: DockerBackend, docker_client: DockerClient
) -> None:
    living = labels.mine(f"twice-{uuid.uuid4().hex[:8]}")
    dead = replace(living, process=f"{os.getpid()}-1")
    docker_client.api.create_network(f"{dead.name}-1", labels=dead.labels)
    with docker_network(docker_client, f"{dead.name}-2", "10.77.4.0/24", living.labels) as stays:
        docker_backend.collect()
        assert at_daemon(docker_client, dead.name) == [stays]


def test_a_lab_that_cannot_come_up_removes_nothing_of_one_that_has_its_name(
    docker_backend: DockerBackend, docker_client: DockerClient
) -> None:
    plan = planned(ELSEWHERE)
    name = f"lab-{plan.name}-lan"
    with docker_network(docker_client, name, "10.77.5.0/24", labels.mine(plan.name).labels) as stays:
        with pytest.raises(BackendError, match=f"network lan: .*{name} already exists"):
            docker_backend.up(plan)
        assert left(docker_client, plan) == [stays]


def test_the_command_line_brings_containers_up_and_down(docker_client: DockerClient, tmp_path: Path) -> None:
    plan = planned(ELSEWHERE)
    (tmp_path / "two.yaml").write_text(ELSEWHERE)
    up = execute("up", "--backend", "docker", "--name", plan.name, str(tmp_path / "two.yaml"))
    assert up.code == 0, up.err
    try:
        assert f"{plan.name} " in (listed := execute("ls").out)
        assert "docker" in listed
        (mine,) = [one for one in json.loads(execute("ls", "--format", "json").out) if one["name"] == plan.name]
        assert mine["backend"] == "docker"
        done = execute("exec", "--lab", plan.name, "left", "--", "sh", "-c", "hostname; exit 3")
        assert (done.code, done.out) == (3, "left\n")
    finally:
        down = execute("down", plan.name)
    assert (down.code, down.out) == (0, f"{plan.name} is down\n")
    assert left(docker_client, plan) == []


def test_a_daemon_that_is_lost_on_the_way_is_one_line() -> None:
    lost = RequestsConnectionError("('Connection aborted.', RemoteDisconnected())")
    with (
        pytest.raises(BackendError, match=r"^node left: the Docker daemon was lost meanwhile"),
        doing("node left"),
    ):
        raise lost


def test_an_ordinary_user_is_told_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotSupportedError, match="labs of containers need root"):
        connect()
