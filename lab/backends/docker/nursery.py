"""The nursery of this backend: `python -m lab.backends.docker.nursery DESCRIPTOR`."""

from __future__ import annotations

from lab.backends.docker.maker import DockerMaker
from lab.backends.owned import nursery

if __name__ == "__main__":
    nursery.serve(DockerMaker())
