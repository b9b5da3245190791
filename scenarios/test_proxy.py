"""A web page by way of a proxy (the book's chapter 4): what each wire sees of one and the same request.

client ── lan ──┬── proxy (squid)      The client asks the proxy for an address; the proxy asks DNS who that is,
                ├── dns (dnsmasq)      fetches the page from there in its own name, and keeps it for the next.
                └── router ── dmz ── web (nginx)
"""

from dataclasses import replace

import pytest

from lab.checks import arp, dns, http, icmp, ip, tcp
from lab.mutants import command, reconfigured
from lab.process import Completed
from lab.running import Lab
from lab.trace.http import Request, Response
from lab.trace.packet import Packet
from lab.trace.trace import Trace
from lab.wait import wait_until

PROXY, WEB = 3128, 80
NAME = "www.example.test"
URL = f"http://{NAME}/index.html"
FORBIDDEN = "http://www.forbidden.example.test/"
PAGE = "<p>A page worth keeping.</p>\n"

KEEP_NOTHING = reconfigured("web", "nginx", "max-age=3600", "no-store")
REMEMBER_WEB = command("router", "ip", "neigh", "add", "10.0.2.80", "lladdr", "02:00:0a:00:02:50", "dev", "eth1")
IMPATIENCE = {
    "router": {"net.ipv4.neigh.eth1.retrans_time_ms": 100},
    "proxy": {"net.ipv4.tcp_syn_retries": 1},
}
be_impatient = reconfigured("proxy", "squid", "via on", "via on\nconnect_timeout 2 seconds\nread_timeout 2 seconds")


def browse(lab: Lab, url: str = URL, *options: str) -> Completed:
    """Let the client fetch a page with a program that asks the proxy of its environment."""
    return lab["client"].run("wget", "--no-config", "--quiet", "--tries=1", "--output-document=-", *options, url)


def without_proxy(lab: Lab) -> None:
    """Take the proxy out of the environment of the client's programs."""
    client = lab["client"]
    client.plan = replace(client.plan, environment=())


def fill_cache(lab: Lab) -> None:
    """Let the proxy fetch the page for somebody else."""
    assert browse(lab).stdout == PAGE


def only_exchange(trace: Trace, port: int) -> tuple[Request, Response]:
    """The one request to this port, and its response."""
    found = http.exchanges(trace, port=port)
    assert len(found) == 1
    assert found[0].response
    return found[0].request, found[0].response


def responses(trace: Trace) -> list[Response]:
    """What the proxy answered the client."""
    return [one.response for one in http.exchanges(trace.on("client"), port=PROXY) if one.response]


def is_sent(packet: Packet) -> bool:
    return packet.direction == "out"


@pytest.mark.book("4.2.1")
@pytest.mark.topology("web-proxy.yaml")
@pytest.mark.mutant("the client goes to the server itself", without_proxy)
def test_a_client_names_the_whole_address_to_its_proxy(lab: Lab) -> None:
    """To a proxy the request line has the absolute address, for the proxy is not who the request is for.

    Nothing goes from the client to the web server itself (RFC 9112 3.2.2).
    """
    with lab["client"].capture() as capture:
        assert browse(lab).stdout == PAGE

    request, response = only_exchange(capture.trace, PROXY)
    assert http.target_form(request) == "absolute"
    assert request.target == URL
    assert request.header("Host") == NAME
    assert response.status == 200
    assert not capture.trace.where(ip.sent_to(lab["web"].address()))


@pytest.mark.book("4.4")
@pytest.mark.topology("web-proxy.yaml")
@pytest.mark.mutant("the client goes to the server itself", without_proxy)
@pytest.mark.mutant(
    "the client's hosts file lacks the proxy",
    command("client", "sh", "-c", "grep -v proxy /etc/hosts >/tmp/hosts; cat /tmp/hosts >/etc/hosts"),
)
def test_the_proxy_asks_for_the_servers_address_and_the_client_does_not(lab: Lab) -> None:
    """Who resolves the name is who connects: the proxy asks for the web server's address, with one A query.

    The client needs the proxy's address only, which its hosts file has.
    """
    with lab.capture() as capture:
        assert browse(lab).stdout == PAGE

    assert not capture.trace.on("client").where(dns.is_query)
    at_dns = capture.trace.on("dns").where(dns.asks_for(NAME))
    queries, answers = at_dns.where(dns.is_query), at_dns.where(dns.is_answer)
    assert [packet.ip.src for packet in queries if packet.ip] == [lab["proxy"].address()]
    assert [dns.records(packet.dns) for packet in answers if packet.dns] == [[f"{NAME}. A {lab['web'].address()}"]]


@pytest.mark.book("4.6.1")
@pytest.mark.topology("web-proxy.yaml")
@pytest.mark.mutant("the client goes to the server itself", without_proxy)
@pytest.mark.mutant("the proxy does not say that it was there", reconfigured("proxy", "squid", "via on", "via off"))
@pytest.mark.mutant(
    "the proxy does not tell who asks", reconfigured("proxy", "squid", "forwarded_for on", "forwarded_for off")
)
def test_the_proxy_asks_the_server_in_its_own_name(lab: Lab) -> None:
    """To the server the proxy is a client: it connects from its own address and names the path only.

    Via tells that somebody stands in between (RFC 9110 7.6.3), X-Forwarded-For on whose behalf.
    """
    with lab.capture() as capture:
        assert browse(lab).stdout == PAGE

    at_web = capture.trace.on("web")
    request, _response = only_exchange(at_web, WEB)
    assert http.target_form(request) == "origin"
    assert (request.target, request.header("Host")) == ("/index.html", NAME)
    assert (request.header("Via") or "").startswith("1.1 proxy ")
    assert request.header("X-Forwarded-For") == lab["client"].address()
    syn = at_web.first(tcp.is_syn)
    assert syn.ip and syn.ip.src == lab["proxy"].address()


@pytest.mark.book("4.3")
@pytest.mark.topology("web-proxy.yaml")
@pytest.mark.mutant(
    "the proxy knows the router already",
    command("proxy", "ip", "neigh", "add", "10.0.1.1", "lladdr", "02:00:0a:00:01:01", "dev", "eth0"),
)
@pytest.mark.mutant("the client goes to the server itself", without_proxy)
def test_before_anybody_speaks_he_asks_for_his_neighbours_hardware_address(lab: Lab) -> None:
    """The client asks for the proxy, the proxy for DNS and for the router, and the router for the web server.

    Whoever was asked knows the asker by the question, and need not ask back.
    """
    with lab.capture() as capture:
        assert browse(lab).stdout == PAGE

    requests = capture.trace.where(arp.is_request, is_sent)
    asked = [(packet.node, packet.arp.target_ip) for packet in requests if packet.arp]
    assert asked == [
        ("client", lab["proxy"].address()),
        ("proxy", lab["dns"].address()),
        ("proxy", lab["router"].address("lan")),
        ("router", lab["web"].address()),
    ]
    for node in ("client", "web"):
        assert [packet.arp is not None for packet in capture.trace.on(node)[:3]] == [True, True, False]


@pytest.mark.book("4.2.1")
@pytest.mark.topology("web-proxy.yaml")
@pytest.mark.mutant("the server allows nobody to keep its pages", KEEP_NOTHING)
@pytest.mark.mutant("the proxy keeps nothing", reconfigured("proxy", "squid", "via on", "via on\ncache deny all"))
@pytest.mark.mutant("the client goes to the server itself", without_proxy)
def test_the_second_fetch_is_answered_from_the_cache(lab: Lab) -> None:
    """The proxy keeps what the server lets it keep; Age says how many seconds ago it was fetched (RFC 9111 5.1).

    Of two requests the server sees one, on its wire and in its log.
    """
    with lab.capture() as capture:
        assert browse(lab).stdout == browse(lab).stdout == PAGE

    found = responses(capture.trace)
    assert len(found) == 2
    miss, hit = found
    assert (miss.header("X-Cache"), hit.header("X-Cache")) == ("MISS from proxy", "HIT from proxy")
    assert miss.header("Age") is None
    assert (hit.header("Age") or "").isdigit()
    only_exchange(capture.trace.on("web"), WEB)
    log = lab["web"].services["nginx"].log
    wait_until(lambda: "GET" in log.read_text(), timeout=5, what="a line in the server's log")
    assert log.read_text().count('"GET /index.html HTTP/1.1" 200') == 1


@pytest.mark.book("4.6.1")
@pytest.mark.topology("web-proxy.yaml")
@pytest.mark.mutant(
    "the proxy does not listen",
    reconfigured("proxy", "squid", "via on", "via on\nrefresh_pattern . 9 9% 9 ignore-reload"),
)
@pytest.mark.mutant("the client goes to the server itself", without_proxy)
def test_a_client_that_wants_no_kept_copy_gets_a_fresh_one(lab: Lab) -> None:
    """With Cache-Control: no-cache the proxy asks the server again, whatever it has (RFC 9111 5.2.1.4)."""
    with lab.capture() as capture:
        assert browse(lab).stdout == browse(lab, URL, "--no-cache").stdout == PAGE

    assert [one.header("X-Cache") for one in responses(capture.trace)] == ["MISS from proxy"] * 2
    asked = [one.request for one in http.exchanges(capture.trace.on("web"), port=WEB)]
    assert [request.header("Cache-Control") for request in asked][1:] == ["no-cache"]


@pytest.mark.book("4.2.2")
@pytest.mark.topology("web-proxy.yaml")
@pytest.mark.mutant("the proxy allows all", reconfigured("proxy", "squid", "http_access deny refused", ""))
@pytest.mark.mutant("the client goes to the server itself", without_proxy)
def test_the_proxy_refuses_what_it_was_told_to(lab: Lab) -> None:
    """A rule of http_access forbids a domain: the proxy answers 403 by itself, without asking DNS or the server."""
    with lab.capture() as capture:
        assert browse(lab, FORBIDDEN).exit_code

    _request, response = only_exchange(capture.trace.on("client"), PROXY)
    assert response.status == 403
    assert response.header("X-Squid-Error") == "ERR_ACCESS_DENIED 0"
    assert not capture.trace.where(dns.is_query)
    assert not capture.trace.on("web")


@pytest.mark.book("4.2.1")
@pytest.mark.topology("web-proxy.yaml")
@pytest.mark.mutant("the proxy has the page already", fill_cache)
@pytest.mark.mutant("the server is out of reach", lambda lab: lab.cut("web"))
def test_the_proxy_says_when_the_server_is_down(lab: Lab) -> None:
    """Nobody listens on port 80: the server's kernel answers with a reset, and the proxy with 503."""
    lab["web"].services["nginx"].stop()

    with lab.capture() as capture:
        assert browse(lab).exit_code

    assert [one.status for one in responses(capture.trace)] == [503]
    assert len(capture.trace.on("web").where(tcp.is_reset, is_sent)) >= 1


@pytest.mark.book("4.2.1")
@pytest.mark.topology("web-proxy.yaml", sysctls=IMPATIENCE)
@pytest.mark.mutant("the proxy has the page already", fill_cache)
@pytest.mark.mutant("the router believes that it knows the server", REMEMBER_WEB)
def test_the_proxy_says_when_the_server_cannot_be_reached(lab: Lab) -> None:
    """The cable to the server is cut: the router looks for it in vain, says so, and the proxy answers 503."""
    lab.cut("web")

    with lab.capture() as capture:
        assert browse(lab).exit_code

    assert [one.status for one in responses(capture.trace)] == [503]
    unreachable = capture.trace.on("proxy").first(icmp.is_unreachable)
    assert unreachable.ip and unreachable.ip.src == lab["router"].address("lan")


@pytest.mark.book("4.2.1")
@pytest.mark.topology("web-proxy.yaml", sysctls=IMPATIENCE)
@pytest.mark.mutant(
    "the server keeps no connection",
    reconfigured("web", "nginx", "server_name web;", "server_name web; keepalive_timeout 0;"),
)
def test_the_proxy_gives_up_on_a_server_that_falls_silent(lab: Lab) -> None:
    """The cable is cut while the proxy has a connection to the server, and nobody tells it.

    It sends its next request on that connection, TCP sends it again and again, and when the proxy has waited for
    an answer long enough (here two seconds, by itself 15 minutes) it says 504.
    """
    be_impatient(lab)
    assert browse(lab).stdout == PAGE
    lab.cut("web")

    with lab.capture() as capture:
        assert browse(lab, f"http://{NAME}/another.html").exit_code

    assert [one.status for one in responses(capture.trace)] == [504]
    to_web = capture.trace.on("proxy").where(ip.sent_to(lab["web"].address()), tcp.has_data)
    assert len(to_web) >= 2
    assert len({packet.tcp.seq for packet in to_web if packet.tcp}) == 1


@pytest.mark.book("4.2.1")
@pytest.mark.topology("web-proxy.yaml")
@pytest.mark.mutant("the server allows nobody to keep its pages", KEEP_NOTHING)
@pytest.mark.mutant("the client goes to the server itself", without_proxy)
def test_a_kept_page_outlives_its_server(lab: Lab) -> None:
    """As long as its copy is fresh the proxy asks nobody, so it does not notice that the server is gone."""
    assert browse(lab).stdout == PAGE
    lab["web"].services["nginx"].stop()

    with lab.capture() as capture:
        assert browse(lab).stdout == PAGE

    assert not capture.trace.on("web").where(tcp.is_syn)
