"""Echo servers: what was sent comes back, all of it and in its order, whatever the client does meanwhile.

left (client) ── lan ── right (server)
"""

import socket

import pytest

from lab.mutants import faulty
from lab.probes import tcp
from lab.running import Lab

PORT = 7


@pytest.mark.topology("two-hosts.yaml", reuse=True)
@pytest.mark.book("9.2")
@pytest.mark.mutant("it takes what was written for all that there was", faulty("echo_poll", "SHORT_WRITE"))
def test_a_client_that_reads_late_gets_all_that_it_has_sent(lab: Lab) -> None:
    """Buffers on the way hold a few megabytes; then the server's write(2) takes a part only of what it is given.

    A server that forgets the rest loses bytes. This one keeps them, and reads no more until they are gone, so that the
    client's own write comes to a stop too: flow control from one end to the other.
    """
    data = bytes(range(256)) * 65_536
    with lab["right"].deploy("echo_poll", port=PORT), lab["left"].connect(lab["right"].address(), PORT) as client:
        sent = tcp.send_until_stalled(client, data)
        client.shutdown(socket.SHUT_WR)
        assert sent < len(data)
        assert tcp.read_to_end(client) == data[:sent]
