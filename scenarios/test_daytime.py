"""Daytime, by names of hosts and services (the book's 5.12; RFC 867).

client ── lan ── router ── dmz ── server, each with an IPv4 and an IPv6 address
"""

import re
import time
from datetime import UTC, datetime

import pytest

from lab.mutants import faulty
from lab.process import Completed
from lab.running import Lab
from lab.wait import wait_until

DAYTIME = 13  # as /etc/services says
CLOCK_REALTIME_COARSE = 5  # what time(2) reads, a tick or more behind (clock_gettime(2)); Python has no name for it
FORM = "%A, %B %d, %Y %H:%M:%S-%Z\r\n"  # of what the server says


def ask(lab: Lab, *options: str) -> Completed:
    return lab["client"].run(lab.program("daytime_client"), *options)


def time_in(answer: str) -> datetime:
    return datetime.strptime(answer, FORM).replace(tzinfo=UTC)


@pytest.mark.topology("dual-stack.yaml", reuse=True)
@pytest.mark.book("5.12")
@pytest.mark.mutant("its clock stands still", faulty("daytime_server", "ONE_TIME"))
def test_a_client_asks_for_the_time_of_day_by_names_alone(lab: Lab) -> None:
    """The host's address is found by its name, and the port by the service's; the answer is a line for people."""
    with lab["server"].deploy("daytime_server", port=DAYTIME):
        first = time_in(ask(lab, "--host", "server").check().stdout)
        began = int(time.clock_gettime(CLOCK_REALTIME_COARSE))
        wait_until(
            lambda: time.clock_gettime(CLOCK_REALTIME_COARSE) >= began + 1, timeout=5, what="the server's next second"
        )
        second = time_in(ask(lab, "--host", "server", "--port", "daytime").check().stdout)
    assert second > first
    assert abs((datetime.now(UTC) - second).total_seconds()) < 60


@pytest.mark.topology("dual-stack.yaml", reuse=True)
@pytest.mark.book("5.12")
@pytest.mark.mutant("it tries the first address only", faulty("daytime_client", "FIRST_ADDRESS"))
def test_a_client_tries_every_address_of_a_host(lab: Lab) -> None:
    """A name may stand for addresses of both families; that one of them refuses says nothing of the other."""
    for version in (4, 6):
        with lab["server"].deploy("daytime_server", "--host", lab["server"].address(version=version), port=DAYTIME):
            done = ask(lab, "--host", "server")
        assert done.exit_code == 0, done.stderr
        assert time_in(done.stdout)


@pytest.mark.topology("dual-stack.yaml", reuse=True)
@pytest.mark.book("5.12")
@pytest.mark.mutant("somebody answers", lambda lab: lab["server"].deploy("daytime_server", port=DAYTIME))
def test_a_client_says_why_it_has_no_answer(lab: Lab) -> None:
    """One line for each address that refused, and one for the whole; a name that nobody knows is another reason."""
    refused = ask(lab, "--host", "10.0.2.80")
    assert refused.exit_code == 1
    assert refused.stderr == (
        "10.0.2.80 port 13: Connection refused\ndaytime_client: no address answers; the last said: Connection refused\n"
    )
    unknown = ask(lab, "--host", "nobody.invalid")
    assert unknown.exit_code == 1
    assert re.fullmatch(r"daytime_client: nobody\.invalid daytime: .+\n", unknown.stderr)
