"""The project's own load balancer: which server a client gets, and what happens to it when one of the three fails.

client1, client2 ── front ── balancer ── back ── web1, web2, web3 (sockets of the test itself)
"""

import json
import re
import select
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from lab.checks import tcp as checks
from lab.errors import NotSupportedError
from lab.mutants import faulty
from lab.probes import proc, tcp
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true

PORT = 8080
NAMES = ("web1", "web2", "web3")
CONFIG = "/run/balancer.conf"
SELDOM = "check-interval 1000"  # the first check is the only one
QUESTION = b"question"
PATIENCE = 5.0  # seconds
ORDINARY = 54321  # a user that has no other processes


class Backends:
    """The three servers, as far as they listen, and all connections that they were given."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.listening: dict[str, socket.socket] = {}
        self.accepted: list[socket.socket] = []
        for name in NAMES:
            self.listen(name)

    def listen(self, name: str) -> None:
        """Let one listen."""
        listener = self.listening[name] = self.lab[name].socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.lab[name].address(), PORT))
        listener.listen()
        listener.settimeout(PATIENCE)

    def die(self, *names: str) -> None:
        """Let some listen no more."""
        for name in names:
            self.listening.pop(name).close()

    def accept(self, listener: socket.socket) -> socket.socket:
        """Accept a connection, which is closed with the backends at the latest."""
        self.accepted.append(listener.accept()[0])
        self.accepted[-1].settimeout(PATIENCE)
        return self.accepted[-1]

    def have_a_client(self, within: float = PATIENCE) -> list[socket.socket]:
        """Return those that have connections to accept, as soon as there are any."""
        return select.select(list(self.listening.values()), [], [], within)[0]

    def next(self) -> tuple[str, socket.socket]:
        """Return the one that hears the next client's question, and its connection; checks say nothing."""
        while ready := self.have_a_client():
            connection = self.accept(ready[0])
            if tcp.read_exactly(connection, len(QUESTION)):
                return next(name for name, one in self.listening.items() if one is ready[0]), connection
        raise AssertionError("no backend got the client")

    def close(self) -> None:
        """Close everything."""
        for one in (*self.listening.values(), *self.accepted):
            one.close()


def configure(lab: Lab, *settings: str, names: tuple[str, ...] = NAMES) -> None:
    """Write a configuration with these backends."""
    backends = [f"backend {lab[name].address()}:{PORT}" for name in names]
    lab.backend.write("balancer", {CONFIG: "\n".join([*backends, *settings, ""])})


@contextmanager
def balanced(
    lab: Lab, *settings: str, arguments: tuple[str, ...] = (), under: tuple[str, ...] = ()
) -> Iterator[tuple[Process, Backends]]:
    """Run the balancer before three backends that listen, each of which it has asked once whether it lives.

    `under` is a program that starts it, with its arguments.
    """
    node = lab["balancer"]
    with closing(Backends(lab)) as backends:
        configure(lab, *settings)
        where = ("--host", node.address("front"), "--port", str(PORT), "--config", CONFIG)
        with node.start(*under, lab.program("balancer"), *where, *arguments) as running:
            node.wait_listening(PORT, running)
            for listener in backends.listening.values():
                backends.accept(listener).close()
            yield running, backends


def call(lab: Lab, client: str = "client1") -> socket.socket:
    """Connect to the balancer and say something, so that it can be told from a check."""
    connection = lab[client].socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    try:
        connection.connect((lab["balancer"].address("front"), PORT))
        connection.sendall(QUESTION)
    except ConnectionError as error:
        connection.close()
        raise AssertionError("the balancer refused the client") from error
    return connection


def is_reset(lab: Lab) -> bool:
    """Whether a client's connection ends with a reset before it has got anything."""
    with lab["client1"].socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect((lab["balancer"].address("front"), PORT))
            connection.recv(1)
        except ConnectionResetError:
            return True
    return False


def refused(lab: Lab) -> tuple[str, int]:
    """Be refused, and return the address of who was."""
    client = lab["client1"]
    with client.socket(socket.AF_INET, socket.SOCK_STREAM) as connection, suppress(ConnectionResetError):
        connection.settimeout(PATIENCE)
        connection.bind((client.address(), 0))  # a reset takes away only a port that connect(2) has chosen
        host, port = connection.getsockname()
        connection.connect((lab["balancer"].address("front"), PORT))
        connection.recv(1)
    return host, port


def ask(lab: Lab, backends: Backends, client: str = "client1") -> str:
    """Return the name of the backend that answers a client, whole connections long."""
    with call(lab, client) as connection:
        name, served = backends.next()
        served.sendall(name.encode())
        served.close()
        assert tcp.read_to_end(connection) == name.encode()
    return name


def received(connection: socket.socket, most: int = 1000) -> bytes:
    """Return what came before the end, be it a FIN or a reset; `most` bytes at most."""
    found = b""
    with suppress(ConnectionError):
        while len(found) < most and (piece := connection.recv(most - len(found))):
            found += piece
    return found


def listens(lab: Lab, process: int) -> bool:
    """Whether a process has the listening socket, so that it may accept from it."""
    opened = proc.descriptors(lab["balancer"], process).values()
    return any(f"socket:[{one.inode}]" in opened for one in lab["balancer"].sockets() if one.state == "LISTEN")


def at(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def connections_in(log: str) -> list[str]:
    """The lines of connections, without the seconds that they took."""
    line = re.compile(r"(\S+:\d+ \S+ \d+ \d+) \d+\.\d{3} (.+)")
    return [" ".join(found.groups()) for found in map(line.fullmatch, log.splitlines()) if found]


def counters(process: Process) -> dict[str, object]:
    """Ask for the balancer's counters, and return them."""

    def told() -> list[str]:
        return [line for line in process.stderr.splitlines() if line.startswith("{") and line.endswith("}")]

    before = len(told())
    process.signal(signal.SIGUSR1)
    assert comes_true(lambda: len(told()) > before)
    found: dict[str, object] = json.loads(told()[-1])
    return found


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("all go to the first", faulty("balancer", "FIRST_ONLY"))
def test_clients_one_after_the_other_are_spread(lab: Lab) -> None:
    """One client after the other finds all backends idle. The least loaded is then any of them.

    A balancer that takes the first of equals sends all of them to one. They take turns here.
    """
    with balanced(lab, SELDOM) as (_, backends):
        served = Counter(ask(lab, backends, f"client{1 + number % 2}") for number in range(6))
    assert served == dict.fromkeys(NAMES, 2)


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("all go to the first", faulty("balancer", "FIRST_ONLY"))
def test_a_client_goes_to_the_backend_with_the_fewest_connections(lab: Lab) -> None:
    """Two backends have a client that stays. Whoever comes now goes to the third, however often it was its turn."""
    with balanced(lab, SELDOM) as (_, backends), ExitStack() as stack:
        busy = set()
        for _ in range(2):
            stack.enter_context(call(lab))
            busy.add(backends.next()[0])
        assert len(busy) == 2
        idle = next(iter(set(NAMES) - busy))
        with call(lab) as third:
            name, served = backends.next()
            assert name == idle
            served.close()
            assert tcp.read_to_end(third) == b""
        assert ask(lab, backends) == idle


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("an end is the end of both directions", faulty("balancer", "HALF_CLOSE_LOST"))
def test_a_client_that_has_said_its_last_is_still_answered(lab: Lab) -> None:
    """shutdown(SHUT_WR) ends one direction; the other goes on for as long as it likes (RFC 9293, section 3.6).

    So the balancer passes on the client's FIN as a FIN, and the answer after it: a backend that reads to the end
    before it answers would else never answer, or nobody would get it.
    """
    answer = bytes(range(256)) * 256
    with balanced(lab, SELDOM) as (_, backends), call(lab) as client:
        client.shutdown(socket.SHUT_WR)
        _, served = backends.next()
        assert served.recv(1) == b""
        served.sendall(b"one")
        assert tcp.read_exactly(client, 3) == b"one"
        served.sendall(answer)
        served.close()
        assert tcp.read_to_end(client) == answer


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("an end is the end of both directions", faulty("balancer", "HALF_CLOSE_LOST"))
def test_a_backend_that_has_said_its_last_still_hears_the_client(lab: Lab) -> None:
    """The same the other way round: the server ends its direction, and the client goes on sending."""
    with balanced(lab, SELDOM) as (_, backends), call(lab) as client:
        _, served = backends.next()
        served.sendall(b"enough")
        served.shutdown(socket.SHUT_WR)
        assert tcp.read_to_end(client) == b"enough"
        with suppress(OSError):  # what arrives will tell
            client.sendall(b"not yet")
            client.shutdown(socket.SHUT_WR)
        assert received(served) == b"not yet"


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("the client is refused", faulty("balancer", "BACKEND_DEATH"))
def test_a_dead_backend_is_passed_over_and_no_client_notices(lab: Lab) -> None:
    """A backend's program ends after the last check: the next connection to it is refused.

    Nothing was relayed yet, so the balancer may ask another, and it does not ask this one again.
    """
    with balanced(lab, SELDOM) as (process, backends):
        backends.die("web2")
        with lab["web2"].capture(expression=f"tcp dst port {PORT}") as capture:
            served = Counter(ask(lab, backends) for _ in range(6))
    assert set(served) == {"web1", "web3"}
    assert len(capture.trace.where(checks.is_syn)) == 1
    assert process.stderr.count("is down: Connection refused") == 1


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml")
@pytest.mark.mutant("the client is refused", faulty("balancer", "BACKEND_DEATH"))
def test_a_backend_that_does_not_answer_is_passed_over_in_time(lab: Lab) -> None:
    """A dead machine refuses nothing. Without a limit of its own the balancer would wait two minutes, as TCP does."""
    with balanced(lab, SELDOM, "connect-timeout 0.2") as (process, backends):
        lab.cut("web2")
        served = Counter(ask(lab, backends) for _ in range(4))
    assert set(served) == {"web1", "web3"}
    assert "is down: it does not answer" in process.stderr


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("what was dead once stays dead", faulty("balancer", "HEALTH_NEVER_BACK"))
def test_a_backend_that_is_back_gets_clients_again(lab: Lab) -> None:
    """Only a check of its own can tell the balancer so, as no client is sent to what counts as dead."""
    with balanced(lab, "check-interval 0.1") as (process, backends):
        backends.die("web2")
        assert comes_true(lambda: "is down" in process.stderr)
        backends.listen("web2")
        assert comes_true(lambda: "is back" in process.stderr)
        served = Counter(ask(lab, backends) for _ in range(6))
    assert served == dict.fromkeys(NAMES, 2)


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it asks one only", faulty("balancer", "BACKEND_DEATH"))
def test_when_all_backends_are_dead_the_client_is_told_at_once(lab: Lab) -> None:
    """Each is asked once, and then the client gets a reset: what it may have sent was given to nobody.

    The balancer itself goes on, and needs no check to find the first that lives again: it asks the dead ones too.
    """
    with balanced(lab, SELDOM) as (_, backends):
        backends.die(*NAMES)
        with lab.capture(*NAMES, expression=f"tcp dst port {PORT}") as capture:
            assert is_reset(lab)
        assert Counter(packet.node for packet in capture.trace.where(checks.is_syn)) == dict.fromkeys(NAMES, 1)
        backends.listen("web3")
        assert ask(lab, backends) == "web3"


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("a reset is passed on as an end", faulty("balancer", "RESET_LOST"))
def test_a_reset_in_the_middle_of_an_answer_is_passed_on_as_one(lab: Lab) -> None:
    """Half an answer and a FIN would look like the whole of one that tells no length. A reset says what it is."""
    with balanced(lab, SELDOM) as (_, backends), call(lab) as client:
        _, served = backends.next()
        served.sendall(b"half an ans")
        assert tcp.read_exactly(client, 11) == b"half an ans"
        tcp.reset(served)
        try:
            end = client.recv(1)
        except ConnectionResetError:
            return
    raise AssertionError(f"the client got {end!r} instead of a reset")


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it waits for who reads slowly", faulty("balancer", "BLOCKS"))
def test_a_backend_that_reads_slowly_holds_up_its_own_client_only(lab: Lab) -> None:
    """What does not fit the buffers on the way stays with the client: its window closes, and nothing piles up.

    Other clients are served meanwhile, and when the backend reads at last it gets every byte.
    """
    data = bytes(range(256)) * (1 << 17)
    with balanced(lab, SELDOM) as (_, backends), call(lab) as client:
        _, served = backends.next()
        sent = tcp.send_until_stalled(client, data)
        assert sent < len(data)
        assert ask(lab, backends, "client2") in NAMES
        client.shutdown(socket.SHUT_WR)
        assert tcp.read_to_end(served) == data[:sent]


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it listens everywhere", faulty("balancer", "BIND_ANY"))
def test_it_listens_where_it_is_told_and_nowhere_else(lab: Lab) -> None:
    """A balancer that stands between two networks serves one of them: the other cannot even connect."""
    front = lab["balancer"].address("front")
    with balanced(lab, SELDOM):
        assert [one.local for one in lab["balancer"].sockets() if one.state == "LISTEN"] == [(front, PORT)]
        with lab["web1"].socket(socket.AF_INET, socket.SOCK_STREAM) as stranger, pytest.raises(ConnectionRefusedError):
            stranger.connect((lab["balancer"].address("back"), PORT))


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it ends at once", faulty("balancer", "STOPS_AT_ONCE"))
def test_a_stop_lets_connections_come_to_their_end(lab: Lab) -> None:
    """SIGTERM closes the listening socket; who is connected has some seconds to finish. Then it ends with 0."""
    with balanced(lab, SELDOM, arguments=("--workers", "2")) as (process, backends), call(lab) as client:
        _, served = backends.next()
        process.signal(signal.SIGTERM)
        assert comes_true(lambda: not any(one.state == "LISTEN" for one in lab["balancer"].sockets()))
        with suppress(ConnectionError):
            served.sendall(b"answer")
        assert received(client, 6) == b"answer"
        client.close()
        served.close()
        assert process.wait().exit_code == 0


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it keeps what it has read first", faulty("balancer", "OLD_CONFIG"))
def test_a_new_configuration_is_for_new_clients(lab: Lab) -> None:
    """SIGHUP: new processes read the file and accept from now on, the old ones see their clients to the end.

    The socket that listens stays the same, so nobody is refused in between.
    """
    with balanced(lab, SELDOM) as (process, backends), call(lab) as old:
        _, served = backends.next()
        worker, _checker = proc.children(lab["balancer"], process.pid)
        configure(lab, SELDOM, names=("web3",))
        process.signal(signal.SIGHUP)
        assert comes_true(lambda: f"{CONFIG} is read" in process.stderr)
        assert comes_true(lambda: not listens(lab, worker.pid))
        assert {ask(lab, backends) for _ in range(4)} == {"web3"}
        served.sendall(b"still there")
        served.close()
        assert tcp.read_to_end(old) == b"still there"


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("all go to the first", faulty("balancer", "FIRST_ONLY"))
def test_a_wrong_configuration_is_reported_by_line_and_the_old_one_stays(lab: Lab) -> None:
    """A balancer that ended, or served nobody, because of a slip in its file would be worse than an old file."""
    with balanced(lab, SELDOM) as (process, backends):
        configure(lab, "connections many")
        process.signal(signal.SIGHUP)
        complaint = f'{CONFIG}: line 4: "many" is no whole number from 1 to 1000000'
        assert comes_true(lambda: complaint in process.stderr)
        configure(lab, names=())
        process.signal(signal.SIGHUP)
        assert comes_true(lambda: f"{CONFIG}: there is no backend" in process.stderr)
        assert {ask(lab, backends) for _ in range(3)} == set(NAMES)


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("all go to the first", faulty("balancer", "FIRST_ONLY"))
def test_its_counters_say_who_served_how_many(lab: Lab) -> None:
    """SIGUSR1 writes one JSON object, without a break in service: what its operator watches it by."""
    with balanced(lab, SELDOM) as (process, backends), call(lab) as client:
        _, served = backends.next()
        for _ in range(5):
            ask(lab, backends)
        assert comes_true(lambda: counters(process)["active"] == 1)
        found = counters(process)
        served.close()
        client.close()
    assert found["accepted"] == 6
    assert (found["refused"], found["retried"], found["broken"]) == (0, 0, 0)
    assert (found["bytes_up"], found["bytes_down"]) == (6 * len(QUESTION), 5 * len("web1"))
    each = found["backends"]
    assert isinstance(each, list)
    assert [one["address"] for one in each] == [f"{lab[name].address()}:{PORT}" for name in NAMES]
    assert sorted(one["connections"] for one in each) in ([1, 2, 3], [2, 2, 2])
    assert all(one["lives"] for one in each)


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("the line is written when nothing is known yet", faulty("balancer", "LOGS_TOO_EARLY"))
def test_its_log_says_who_went_where_and_how_it_ended(lab: Lab) -> None:
    """A line for each connection, at its end: client, server, bytes up and down, seconds, and how it ended.

    The servers' own logs know the balancer's address only, so nobody else can tell who it was.
    """
    lines = []
    with balanced(lab, SELDOM) as (process, backends):
        for end, how in ((socket.socket.close, "done"), (tcp.reset, "reset by server")):
            with call(lab) as client:
                name, served = backends.next()
                served.sendall(b"answer")
                assert tcp.read_exactly(client, 6) == b"answer"
                lines.append(f"{at(client.getsockname())} {at((lab[name].address(), PORT))} 8 6 {how}")
                end(served)
                tcp.read_to_any_end(client)
        backends.die(*NAMES)
        lines.append(f"{at(refused(lab))} - 0 0 refused")
        assert comes_true(lambda: len(connections_in(process.stderr)) == len(lines))
        assert connections_in(process.stderr) == lines


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it writes them all the same", faulty("balancer", "LOGS_UNASKED"))
def test_its_log_can_be_left_out(lab: Lab) -> None:
    """A line for each connection costs something, and where another program keeps the books nobody reads it."""
    with balanced(lab, SELDOM, "access-log off") as (process, backends):
        ask(lab, backends)
        assert comes_true(lambda: counters(process)["active"] == 0)
        assert connections_in(process.stderr) == []


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it accepts all the same", faulty("balancer", "NO_LIMIT"))
def test_at_its_limit_of_connections_it_lets_clients_wait(lab: Lab) -> None:
    """The third client is connected by the kernel, and waits in the queue of the listening socket.

    It is served as soon as one of the others has gone.
    """
    with balanced(lab, SELDOM, "connections 2") as (_, backends), ExitStack() as stack:
        first, second = (stack.enter_context(call(lab)) for _ in range(2))
        served = [backends.next()[1] for _ in range(2)]
        third = stack.enter_context(call(lab))
        assert not backends.have_a_client(within=0.3)
        served[0].close()
        assert select.select([first, second], [], [], PATIENCE)[0]
        first.close()
        second.close()
        backends.next()[1].sendall(b"answer")
        assert tcp.read_exactly(third, 6) == b"answer"


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it takes on whom it cannot serve", faulty("balancer", "NO_DESCRIPTORS_KEPT"))
def test_at_its_limit_of_descriptors_it_lets_clients_wait(lab: Lab) -> None:
    """A client costs two sockets, and two pipes at worst: who accepts as long as accept(2) can has none for the rest.

    Clients are better off in the queue of the listening socket than accepted and then reset.
    """
    with balanced(lab, SELDOM, under=("prlimit", "--nofile=46")) as (process, backends), ExitStack() as stack:
        clients = [stack.enter_context(call(lab)) for _ in range(40)]
        for _ in clients:
            _, served = backends.next()
            served.sendall(b"answer")
            served.close()
            done = select.select(clients, [], [], PATIENCE)[0][0]
            assert tcp.read_to_any_end(done) == b"answer"
            clients = [client for client in clients if client is not done]
            done.close()
        assert counters(process)["refused"] == 0


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it keeps silent connections", faulty("balancer", "NEVER_IDLE"))
def test_a_connection_on_which_nothing_moves_is_closed(lab: Lab) -> None:
    """Clients whose machine is gone say nothing, not even that they are: else they would be kept for ever."""
    with balanced(lab, SELDOM, arguments=("--idle-timeout", "0.3")) as (process, backends), call(lab) as client:
        _, served = backends.next()
        assert select.select([served], [], [], PATIENCE)[0], "the backend's connection is still there"
        assert served.recv(1) == b""
        assert client.recv(1) == b""
        assert counters(process)["idle"] == 1


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("nobody takes its place", faulty("balancer", "NOT_REPLACED"))
def test_a_worker_that_dies_is_replaced(lab: Lab) -> None:
    """A process pool outlives its processes: the listening socket is the parent's too, and clients wait in its queue.

    The connections of the dead one no longer count, or its backend would look loaded for ever.
    """
    with balanced(lab, SELDOM) as (process, backends), call(lab) as client:
        _, served = backends.next()
        children = proc.children(lab["balancer"], process.pid)
        assert len(children) == 2  # the worker, and the one that checks backends
        lab["balancer"].run("kill", "-KILL", str(children[0].pid)).check()
        assert served.recv(1) == b""
        assert client.recv(1) == b""
        served.close()
        assert {ask(lab, backends) for _ in range(3)} == set(NAMES)
        assert comes_true(lambda: counters(process)["active"] == 0)


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("it ends, as it cannot fork", faulty("balancer", "FORK_IS_FATAL"))
def test_where_no_process_is_to_be_had_it_tries_again(lab: Lab) -> None:
    """fork(2) fails with EAGAIN at the limit of a user's processes (RLIMIT_NPROC), which does not bind root.

    A worker is missing for as long as that lasts, and clients wait. A reload in that state starts what it can later.
    """
    node = lab["balancer"]
    try:
        ordinary = proc.as_user(node, ORDINARY)
    except NotSupportedError as error:
        pytest.skip(str(error))
    may_read = ("sh", "-c", f'chmod a+r {CONFIG} && exec "$@"', "sh")
    with balanced(lab, SELDOM, under=(*may_read, *ordinary)) as (process, backends):
        limit = (*ordinary, "prlimit", "--pid", str(process.pid))
        node.run(*limit, "--nproc=1:").check()
        for child in proc.children(node, process.pid):
            node.run("kill", "-KILL", str(child.pid)).check()
        assert comes_true(lambda: "fork" in process.stderr or process.exit_code is not None)
        assert process.exit_code is None
        process.signal(signal.SIGHUP)
        assert comes_true(lambda: f"{CONFIG} is read" in process.stderr)
        with call(lab) as client:
            node.run(*limit, "--nproc=100:").check()
            _, served = backends.next()
            served.sendall(b"answer")
            assert tcp.read_exactly(client, 6) == b"answer"
            assert counters(process)["accepted"] == 1
        assert len(proc.children(node, process.pid)) == 2
        process.signal(signal.SIGTERM)
        assert process.wait().exit_code == 0


@pytest.mark.book("springsnail")
@pytest.mark.topology("springsnail.yaml", reuse=True)
@pytest.mark.mutant("an end is the end of both directions", faulty("balancer", "HALF_CLOSE_LOST"))
def test_megabytes_pass_both_ways_at_once(lab: Lab) -> None:
    """An echo of more than all buffers hold: each direction has to wait for the other's reader, and loses nothing."""
    data = bytes(range(256)) * 40_000
    with balanced(lab, SELDOM) as (_, backends), ExitStack() as stack:
        backends.die(*NAMES)
        for name in NAMES:
            stack.enter_context(lab[name].deploy("echo_poll", port=PORT))
        client = stack.enter_context(lab["client1"].connect(lab["balancer"].address("front"), PORT))
        assert tcp.converse(client, data) == data
