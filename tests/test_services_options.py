"""Kinds and options of services, without any service that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import servers
from lab.errors import MissingToolError, TopologyError, UsageError
from lab.load import loads
from lab.plan.model import Plan
from lab.plan.planner import plan
from lab.services import kinds
from lab.services.kind import Kind, Place, Program
from lab.services.state import ending
from lab.services.table import KINDS

LAB = """\
name: options
networks: {lan: {subnet: [10.0.1.0/24, "fd00:1::/64"]}, far: {subnet: 10.9.0.0/24}}
nodes:
  web:
    networks: {lan: 10.0.1.80}
    resolver: dns
    services:
      SERVICE
  dns: {networks: {far: 10.9.0.53, lan: 10.0.1.53}}
  alone: {}
"""


def planned(service: str) -> Plan:
    return plan(loads(LAB.replace("SERVICE", service), "lab.yaml", kinds))


def program(service: str) -> Program:
    """What the one service of `web` comes to."""
    made = planned(service)
    (asked,) = made.nodes[0].services
    options: Kind = kinds()[asked.kind].model_validate(asked.options)
    place = Place(made, made.nodes[0], asked.name, asked.kind, Path("/topologies"), Path("/nowhere"))
    return options.program(place)


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("sqiud: {}", '8:7: nodes.web.services.sqiud: unknown service "sqiud"; did you mean "squid"?'),
        ("a: {kind: nginks}", '8:17: nodes.web.services.a.kind: unknown service "nginks"; did you mean "nginx"?'),
        ("squid: {prot: 1}", '8:15: nodes.web.services.squid.prot: unknown key "prot"; did you mean "port"?'),
        ("squid: {port: 0}", "8:21: nodes.web.services.squid.port: found the number 0; the least is 1"),
        ("squid: {port: '80'}", '8:21: nodes.web.services.squid.port: found "80"; allowed is a whole number, without'),
        ("squid: {refuse: [a b]}", '8:24: nodes.web.services.squid.refuse[0]: found "a b"; a host\'s name is dotted'),
        ("haproxy: ", '8:15: nodes.web.services.haproxy: the key "backends" is missing; add it'),
        ("haproxy: {backends: []}", "8:27: nodes.web.services.haproxy.backends: found none; at least one is needed"),
        ("haproxy: {backends: [web]}", '8:28: nodes.web.services.haproxy.backends[0]: found "web"; allowed is a node'),
        ("haproxy: {backends: ['a:1'], mode: tpc}", 'found "tpc"; did you mean "tcp"?'),
        ("nginx: {root: 'a;b'}", '8:21: nodes.web.services.nginx.root: found "a;b"; allowed is a line of text without'),
        ("nginx: {pages: {a: 1}}", "8:26: nodes.web.services.nginx.pages.a: found the number 1; allowed is text"),
        (
            "xinetd: {ports: {echo: [/bin/cat]}}",
            'nodes.web.services.xinetd.ports.echo: found "echo"; allowed is a port',
        ),
        ("xinetd: {ports: {7: [cat]}}", "nodes.web.services.xinetd.ports.7: allowed is a list: the whole path of a"),
        ("command: {run: [ls], listens: [80/sctp]}", 'found "80/sctp"; allowed is a port, or one with its protocol'),
        ("command: {run: [ls], environment: {2X: a}}", "8:42: nodes.web.services.command.environment.2X: found"),
        ("dnsmasq: {hosts: {'a b': web}}", '8:25: nodes.web.services.dnsmasq.hosts.a b: found "a b"; a host\'s name'),
    ],
)
def test_a_wrong_option_is_refused_where_it_stands(service: str, message: str) -> None:
    with pytest.raises(TopologyError) as error:
        planned(service)
    assert message in str(error.value)
    assert str(error.value).startswith("lab.yaml:8:")


def test_options_stay_unchecked_where_no_kinds_are_known() -> None:
    topology = loads(LAB.replace("SERVICE", "sqiud: {prot: 1}"))
    assert topology.nodes["web"].services["sqiud"].options == {"prot": 1}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("command", "haproxy", "sshd", "xinetd")])
def test_a_kind_needs_no_options(kind: str) -> None:
    found = program(f"{kind}: ")
    assert found.arguments
    assert found.ports


def test_squid_keeps_its_configuration_clean_of_domains_below_others() -> None:
    (text,) = program("squid: {refuse: [ads.bad.test, bad.test, bad.test]}").files.values()
    assert text.count("acl refused") == 1
    assert "acl refused dstdomain .bad.test" in text


def test_squid_asks_the_resolver_of_its_node() -> None:
    (text,) = program("squid: {}").files.values()
    assert "dns_nameservers 10.0.1.53" in text


def test_a_node_is_known_by_its_address_on_a_shared_network() -> None:
    found = program("nginx: {backends: ['dns:8080', '[fd00:1::9]:80']}")
    assert "server 10.0.1.53:8080; server [fd00:1::9]:80;" in found.files["/run/services/nginx/nginx.conf"]


@pytest.mark.parametrize(("host", "problem"), [("nobody", 'no node named "nobody"'), ("alone", 'node "alone" has no')])
def test_a_backend_must_have_an_address(host: str, problem: str) -> None:
    with pytest.raises(UsageError, match=f"web: nginx: {problem}"):
        program(f"nginx: {{backends: ['{host}:80']}}")


def test_a_folder_is_looked_for_beside_the_topology() -> None:
    assert 'root "/topologies/www"' in program("nginx: {root: www}").files["/run/services/nginx/nginx.conf"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of servers: one that is built, and one that is not."""
    built = tmp_path / "build" / "release" / "bin"
    built.mkdir(parents=True)
    for name in ("poll_echo", "http_threadpool"):
        (tmp_path / f"{name}.cc").touch()
    (built / "poll_echo").touch(mode=0o755)
    monkeypatch.setattr(servers, "SOURCES", tmp_path)
    return built


def test_a_server_of_the_project_is_a_service_by_its_name(folder: Path) -> None:
    found = program("poll_echo: {port: 7, root: www, arguments: [--workers, '4']}")
    assert found.arguments == (str(folder / "poll_echo"), "--port", "7", "--root", "/topologies/www", "--workers", "4")


@pytest.mark.usefixtures("folder")
def test_a_server_that_is_not_built_says_so() -> None:
    with pytest.raises(MissingToolError, match=r"http_threadpool is not built: there is no \S+; lab build makes it"):
        program("http_threadpool: ")


def test_a_plan_with_services_survives_json() -> None:
    made = planned("nginx: {pages: {a.html: b}}")
    assert Plan.from_data(made.to_data()) == made
    assert hash(Plan.from_data(made.to_data())) == hash(made)


def test_dnsmasq_knows_all_nodes_whatever_they_are_called_but_no_loopback_address() -> None:
    text = LAB.replace("SERVICE", "dnsmasq: ").replace("  dns:", "  localhost2: {networks: {lan: }}\n  dns:")
    made = plan(loads(text, "lab.yaml", kinds))
    place = Place(made, made.nodes[0], "dnsmasq", "dnsmasq", Path("/topologies"), Path("/nowhere"))
    files = kinds()["dnsmasq"].model_validate({}).program(place).files
    (hosts,) = (text for path, text in files.items() if path.endswith("/hosts"))
    assert "localhost2" in hosts
    assert "127.0.0.1" not in hosts


@pytest.mark.parametrize(("code", "said"), [(3, "exit code 3"), (-9, "SIGKILL"), (-40, "signal 40")])
def test_an_end_is_told_in_words_whatever_the_signal(code: int, said: str) -> None:
    assert ending(code).endswith(said)
