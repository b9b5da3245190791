"""Sabotage does what it says, or says that it could not."""

from __future__ import annotations

import socket

import pytest

from lab.errors import UsageError
from lab.mutants import reconfigured
from lab.probes import http
from lab.running import Lab


def cache_control(lab: Lab) -> str | None:
    with lab["client"].socket(socket.AF_INET, socket.SOCK_STREAM) as channel:
        request = http.request("GET", "/", host="www.example.test")
        return http.fetch(channel, (lab["web"].address(), 80), request).header("Cache-Control")


@pytest.mark.topology("web.yaml", reuse=True)
def test_a_reconfigured_service_runs_with_its_new_configuration(lab: Lab) -> None:
    assert cache_control(lab) is None
    line = 'add_header Cache-Control "no-store";'
    reconfigured("web", "nginx", "server_name web;", f"server_name web; {line}")(lab)
    assert cache_control(lab) == "no-store"


@pytest.mark.topology("web.yaml", reuse=True)
def test_a_text_that_a_configuration_lacks_is_an_error(lab: Lab) -> None:
    with pytest.raises(UsageError, match='web/nginx: "nonesuch" is nowhere in its configuration'):
        reconfigured("web", "nginx", "nonesuch", "other")(lab)
