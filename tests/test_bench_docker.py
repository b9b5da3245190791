"""The project's promise about speed on Docker, as ratios within one run of script/bench docker."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.bench.docker_race import OURS, SIZES
from tests.docker_images import client, connect_or_skip

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["client"]

pytestmark = [pytest.mark.bench, pytest.mark.docker]

_BENCH = Path(__file__).parents[1] / "script" / "bench"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    connect_or_skip().close()
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    subprocess.run([_BENCH, "docker", "--json", file], check=True)
    figures: dict[str, Any] = json.loads(file.read_text())
    return figures


@pytest.mark.parametrize("nodes", SIZES)
@pytest.mark.parametrize("peer", ["docker SDK, in turn", "docker-compose", "kathara"])
def test_a_lab_on_docker_comes_up_and_goes_down_faster_than(figures: dict[str, Any], peer: str, nodes: int) -> None:
    if peer in figures["missing"]:
        pytest.skip(f"{peer}: {figures['missing'][peer]}")
    ours, theirs = (figures["labs"][name][str(nodes)] for name in (OURS, peer))
    assert ours["up"] + ours["down"] < theirs["up"] + theirs["down"]


def test_the_bench_leaves_nothing_with_the_daemon(client: DockerClient) -> None:
    def there() -> set[str | None]:
        return {one.id for one in [*client.containers.list(all=True), *client.networks.list()]}

    before = there()
    subprocess.run([_BENCH, "docker", "--rounds", "1", "--nodes", "2"], check=True)
    assert there() == before
