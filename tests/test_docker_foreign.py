"""An image that somebody else has made, with an entrance and a user of its own, as a node with a service."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab import images
from lab.backends.docker.client import DockerBackend
from lab.running import Lab
from tests.small_labs import planned

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

NAME = "foreign/squid:1"
# What images of squid from elsewhere have: a script in front of it, another user, ports and volumes to be told of.
DOCKERFILE = """
FROM {squid}
ENV SQUID_USER=proxy
USER nobody
EXPOSE 3128/tcp
VOLUME /var/log/squid /var/spool/squid
WORKDIR /var/spool/squid
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
CMD ["-f", "/etc/squid/other.conf", "-NYC"]
"""
LAB = f"""
name: foreign
networks:
  inside: {{subnet: 10.81.1.0/24}}
  outside: {{subnet: 10.81.2.0/24}}
nodes:
  client: {{networks: {{inside: }}}}
  proxy:
    image: {NAME}
    networks: {{inside: , outside: }}
    services: {{squid: }}
  web:
    networks: {{outside: }}
    services: {{nginx: {{pages: {{index.html: through the proxy}}}}}}
"""


@pytest.fixture
def foreign_image(docker_client: DockerClient) -> Iterator[None]:
    squid = images.ensure(docker_client, "squid")
    text = DOCKERFILE.format(squid=squid)
    list(docker_client.api.build(fileobj=io.BytesIO(text.encode()), tag=NAME, rm=True))
    yield
    docker_client.api.remove_image(NAME)


@pytest.mark.usefixtures("foreign_image")
def test_any_image_with_squid_in_it_can_be_the_proxy(docker_backend: DockerBackend) -> None:
    with Lab.up(planned(LAB), docker_backend) as lab:
        url = f"http://{lab['web'].address()}/"
        fetched = lab["client"].run("curl", "-sSx", f"{lab['proxy'].address('inside')}:3128", url, cwd=Path("/"))
        assert fetched.check().stdout == "through the proxy"
        assert url in lab["proxy"].services["squid"].log.read_text()
