"""Each kind of service, asked over the wire for what it is there for. As root and as an ordinary user."""

from __future__ import annotations

import dns.flags
import dns.rcode
import pytest

from lab.running import Lab
from lab.wait import wait_until
from tests.service_labs import PROJECT, BringUp, alone, ask, bring_up, command, converse, get

__all__ = ["bring_up"]

WEB_PROXY = """
name: web-proxy
domain: lab.test
networks:
  lan: {subnet: 10.0.1.0/24}
  dmz: {subnet: 10.0.2.0/24}
nodes:
  client: {networks: {lan: 10.0.1.10}, resolver: dns}
  router: {kind: router, networks: {lan: 10.0.1.1, dmz: 10.0.2.1}}
  dns:
    networks: {lan: 10.0.1.53}
    services:
      dnsmasq:
        hosts: {www.example.test: web, far.example.test: 192.0.2.1}
        cnames: {alias.example.test: www.example.test}
        wildcards: {apps.test: web}
  proxy:
    networks: {lan: 10.0.1.3}
    resolver: dns
    services: {squid: {refuse: [very.bad.test, Bad.test], needs: dns}}
  web:
    networks: {dmz: 10.0.2.80}
    names: [static.test]
    services: {nginx: {max_age: 60, pages: {index.html: hello, sub/page.txt: text}}}
"""


@pytest.fixture
def web_proxy(bring_up: BringUp) -> Lab:
    return bring_up(WEB_PROXY)


def answers(lab: Lab, name: str, kind: str = "A") -> list[str]:
    found = ask(lab["client"], lab["dns"].address(), name, kind)
    return [item.to_text() for answer in found.answer for item in answer]


def test_dnsmasq_knows_the_lab_and_what_it_is_told(web_proxy: Lab) -> None:
    assert answers(web_proxy, "web") == ["10.0.2.80"]
    assert answers(web_proxy, "web.lab.test") == ["10.0.2.80"]
    assert answers(web_proxy, "static.test") == ["10.0.2.80"]
    assert answers(web_proxy, "www.example.test") == ["10.0.2.80"]
    assert answers(web_proxy, "far.example.test") == ["192.0.2.1"]
    assert answers(web_proxy, "alias.example.test") == ["www.example.test.", "10.0.2.80"]
    assert answers(web_proxy, "any.thing.apps.test") == ["10.0.2.80"]
    assert answers(web_proxy, "80.2.0.10.in-addr.arpa", "PTR")[0] in ("web.", "web.lab.test.")


@pytest.mark.parametrize("name", ["nobody", "nobody.lab.test", "example.com", "9.9.9.9.in-addr.arpa"])
def test_dnsmasq_says_of_all_other_names_that_they_do_not_exist(web_proxy: Lab, name: str) -> None:
    found = ask(web_proxy["client"], web_proxy["dns"].address(), name, "PTR" if "arpa" in name else "A")
    assert found.rcode() == dns.rcode.NXDOMAIN
    assert found.flags & dns.flags.RA


def test_nodes_look_names_up_in_their_hosts_file_first_and_then_in_the_lab(web_proxy: Lab) -> None:
    client = web_proxy["client"]
    log = web_proxy["dns"].services["dnsmasq"].log

    assert "10.0.2.80" in client.run("getent", "ahostsv4", "web", cwd="/").check().stdout
    assert "query" not in log.read_text()
    assert "10.0.2.80" in client.run("getent", "ahostsv4", "web.lab.test", cwd="/").check().stdout
    assert "query[A] web.lab.test from 10.0.1.10" in log.read_text()
    resolver = client.run("cat", "/etc/resolv.conf", cwd="/").stdout
    assert resolver == "nameserver 10.0.1.53\nsearch lab.test\n"
    assert "\nhosts: files dns\n" in client.run("cat", "/etc/nsswitch.conf", cwd="/").stdout


def test_squid_fetches_keeps_and_says_so(web_proxy: Lab) -> None:
    client, proxy = web_proxy["client"], web_proxy["proxy"].address()
    url = "http://www.example.test/"

    first, second = (get(client, proxy, url, port=3128, host="www.example.test") for _ in range(2))

    assert first.startswith("HTTP/1.1 200 OK\r\n")
    assert first.endswith("hello")
    assert "X-Cache: MISS from proxy" in first
    assert "Via: 1.1 proxy (squid" in first
    assert "X-Cache: HIT from proxy" in second
    assert "\r\nAge: " in second
    assert web_proxy["web"].services["nginx"].log.read_text().count('"GET / HTTP/1.1" 200') == 1
    assert "query[A] www.example.test from 10.0.1.3" in web_proxy["dns"].services["dnsmasq"].log.read_text()
    assert "GET http://www.example.test/" in web_proxy["proxy"].services["squid"].log.read_text()


@pytest.mark.parametrize("host", ["bad.test", "very.bad.test"])
def test_squid_refuses_what_it_is_told_to(web_proxy: Lab, host: str) -> None:
    found = get(web_proxy["client"], web_proxy["proxy"].address(), f"http://{host}/", port=3128, host=host)
    assert found.startswith("HTTP/1.1 403 Forbidden\r\n")


def test_nginx_serves_pages_that_a_cache_may_keep(web_proxy: Lab) -> None:
    found = get(web_proxy["client"], "10.0.2.80")
    for header in ("Content-Type: text/html", "Last-Modified: ", "ETag: ", "Cache-Control: max-age=60"):
        assert f"\r\n{header}" in found
    page = get(web_proxy["client"], "10.0.2.80", "/sub/page.txt")
    assert "Content-Type: text/plain" in page
    assert page.endswith("text")


BALANCED = """
name: balanced
networks: {lan: {subnet: [10.0.1.0/24, "fd00:1::/64"]}}
nodes:
  client: {networks: {lan: }}
  balancer:
    networks: {lan: }
    services:
      haproxy: {backends: ["one:80", "two:80"], needs: [one, two]}
      turns: {kind: haproxy, port: 8000, mode: tcp, backends: ["one:7", "two:7"], needs: [one, two]}
      passing: {kind: nginx, port: 8080, backends: ["one:80"]}
  one:
    networks: {lan: }
    services: {nginx: , xinetd: {ports: {7: [/bin/cat], 13: [/bin/echo, what, ever]}}}
  two:
    networks: {lan: }
    services: {nginx: , xinetd: {ports: {7: [/bin/cat]}}, iperf3: , sshd: }
"""


@pytest.fixture
def balanced(bring_up: BringUp) -> Lab:
    return bring_up(BALANCED)


def test_haproxy_shares_requests_out_in_turn(balanced: Lab) -> None:
    client, balancer = balanced["client"], balanced["balancer"].address()
    pages = [get(client, balancer).rpartition("This is ")[2] for _ in range(4)]
    assert sorted(pages) == ["one.</p>\n"] * 2 + ["two.</p>\n"] * 2
    assert "This is one." in get(client, balancer, port=8080)
    assert converse(client, balancer, 8000, b"hello") == b"hello"


def test_xinetd_gives_each_connection_a_program(balanced: Lab) -> None:
    client, one = balanced["client"], balanced["one"]
    assert converse(client, one.address(), 7, b"hello") == b"hello"
    assert converse(client, one.address(), 13) == b"what ever\n"
    assert "START: port-13 pid=" in one.services["xinetd"].log.read_text()


def test_iperf3_measures(balanced: Lab) -> None:
    # It makes a file for each stream, in the node's own /tmp.
    own = {"TMPDIR": "/tmp"}  # noqa: S108
    balanced["client"].run("iperf3", "--client", "two", "--bytes", "100K", cwd="/", environment=own).check()
    log = balanced["two"].services["iperf3"].log
    wait_until(lambda: "Accepted connection from" in log.read_text(), timeout=10, what="the server's account")


def test_sshd_lets_every_node_in_with_the_labs_own_key(balanced: Lab) -> None:
    done = balanced["one"].run("ssh", "-F", "/run/ssh/config", "two", "hostname && id -un", cwd="/").check()
    assert done.stdout == "two\nlab\n"
    keys = balanced.backend.folder / "keys"
    assert sorted(path.name for path in keys.iterdir()) == ["host", "host.pub", "user", "user.pub"]
    assert keys.stat().st_mode & 0o77 == 0


def test_nginx_listens_on_both_versions_of_ip(balanced: Lab) -> None:
    address = balanced["one"].address(version=6)
    found = balanced["client"].run(
        *("python3", "-c", f"import urllib.request as u; print(u.urlopen('http://[{address}]/').status)"), cwd="/"
    )
    assert found.check().stdout == "200\n"


def test_a_command_runs_beside_its_topology_as_root_of_its_node(bring_up: BringUp) -> None:
    shown = "pwd; id -u; echo $COLOUR; sleep 1000"
    lab = bring_up(alone(command("sh", "-c", shown, environment={"COLOUR": "red"})))
    log = lab["web"].services["command"].log
    wait_until(lambda: log.read_text().count("\n") == 3, timeout=5, what="the command's output")
    assert log.read_text() == f"{PROJECT / 'tests'}\n0\nred\n"


@pytest.mark.parametrize("service", ["dnsmasq: ", "squid: ", "nginx: ", "haproxy: {backends: ['web:81']}"])
def test_servers_have_none_of_roots_powers(bring_up: BringUp, service: str) -> None:
    lab = bring_up(alone(service))
    pids = [process["pid"] for process in lab.backend.processes()]
    status = lab["web"].run("cat", *(f"/proc/{pid}/status" for pid in pids), cwd="/").check().stdout
    capabilities = [line for line in status.splitlines() if line.startswith(("CapEff", "CapPrm"))]
    assert capabilities
    assert all(line.endswith("\t0000000000000000") for line in capabilities)
