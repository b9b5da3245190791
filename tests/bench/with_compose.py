"""The peer that most people would take: `docker-compose up` and `down`, from a file of one network and its services.

Its arguments: the tag of an image, the number of nodes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.protocol import call, contend
from tests.bench.topology import address, gateway, subnet

if TYPE_CHECKING:
    from collections.abc import Callable


def project(image: str, hosts: int) -> str:
    """Return the text of a compose file; JSON is YAML."""
    services = {
        f"h{number}": {"image": image, "cap_drop": ["ALL"], "networks": {"lan": {"ipv4_address": address(number)}}}
        for number in range(1, hosts + 1)
    }
    pool = {"subnet": subnet(), "gateway": gateway()}
    networks = {"lan": {"internal": True, "ipam": {"config": [pool]}}}
    return json.dumps({"version": "2.4", "services": services, "networks": networks})


def main(image: str, hosts: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "compose.json")
        file.write_text(project(image, hosts))

        def compose(*arguments: str) -> None:
            call("docker-compose", "--project-name", f"bench-{os.getpid()}", "--file", str(file), *arguments)

        def up() -> Callable[[], None]:
            compose("up", "--detach")
            return lambda: compose("down", "--timeout", "0")

        contend(up)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
