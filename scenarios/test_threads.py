"""Threads (14): locks in the wrong order, locks that a fork copies, signals that one thread takes, and arguments."""

import os
import signal

import pytest

from lab.mutants import faulty
from lab.node import Node
from lab.probes import proc
from lab.process import Process
from lab.running import Lab
from lab.wait import comes_true

pytestmark = pytest.mark.topology("two-hosts.yaml", reuse=True)


def telling_sanitizer(option: str) -> dict[str, str]:
    """The environment of a program, in which the thread sanitizer is told one thing more than it is anyway."""
    return {"TSAN_OPTIONS": f"{os.environ['TSAN_OPTIONS']}:{option}"}


def sleep_in_futex(tasks: list[proc.Task]) -> bool:
    """Whether all of these threads wait for a lock; the kernel may be one that does not tell where they wait."""
    return all(task.state == "S" and (task.waits_in in {"-", "0"} or "futex" in task.waits_in) for task in tasks)


def wakes(node: Node, tasks: list[proc.Task]) -> list[str]:
    """How often each thread has been on a processor."""
    return [proc.status(node, task.pid)["voluntary_ctxt_switches"] for task in tasks]


@pytest.mark.book("14.5")
@pytest.mark.mutant("the locks are taken in one order", lambda lab: setattr(lab, "program", lambda _name: "/bin/true"))
def test_two_locks_in_opposite_order_are_a_deadlock(lab: Lab) -> None:
    """Each thread holds a lock and waits for the other's: both sleep in futex(2), for ever, and nobody says so.

    /proc shows it: state S, no use of the processor, and the same function of the kernel in every look.
    """
    right = lab["right"]
    # The sanitizer's job is to see such an order of locks before anything happens; here the deadlock is what we want.
    with right.start(lab.program("deadlock"), environment=telling_sanitizer("detect_deadlocks=0")) as program:
        names = {"first", "second"}
        assert comes_true(lambda: names <= {task.name for task in proc.threads(right, program.pid)}, timeout=2)

        def locked() -> list[proc.Task]:
            return [task for task in proc.threads(right, program.pid) if task.name in names]

        assert comes_true(lambda: sleep_in_futex(locked()))
        before = wakes(right, locked())
        assert not comes_true(lambda: wakes(right, locked()) != before, timeout=0.3)
        assert program.stdout == ""
        assert program.stop().exit_code == 0


@pytest.mark.book("14.5")
@pytest.mark.mutant("the order is the opposite all the same", faulty("deadlock", "LOCK_ORDER"))
def test_locks_in_one_order_never_deadlock(lab: Lab) -> None:
    """Whoever has the first lock is the only one who can want the second: there is no circle to wait in."""
    with lab["right"].start(lab.program("deadlock"), "--ordered") as program:
        assert comes_true(lambda: program.exit_code == 0)
        assert program.stdout == "done, 100 and 100\n"


@pytest.mark.book("14.8.2")
@pytest.mark.mutant("nobody holds the lock", lambda lab: setattr(lab, "program", lambda _name: "/bin/true"))
def test_a_lock_held_by_another_thread_stays_locked_in_the_child(lab: Lab) -> None:
    """What fork copies is the memory, the locked lock in it, and one thread only: the one to unlock it is not there."""
    right = lab["right"]
    with right.start(lab.program("fork_with_lock")) as program:
        assert comes_true(lambda: "the parent has forked" in program.stdout, timeout=2)
        assert comes_true(lambda: sleep_in_futex(proc.children(right, program.pid)))
        (child,) = proc.children(right, program.pid)
        assert len(proc.threads(right, child.pid)) == 1
        before = wakes(right, [child])
        assert not comes_true(lambda: wakes(right, [child]) != before, timeout=0.3)
        assert "the child has the lock" not in program.stdout
        assert program.stop().exit_code == 0


@pytest.mark.book("14.8.2")
@pytest.mark.mutant("nobody unlocks in the child", faulty("fork_with_lock", "ATFORK_CHILD"))
def test_pthread_atfork_lets_the_child_use_the_lock(lab: Lab) -> None:
    """The lock is taken before the fork, when its holder is done, and given back in parent and child."""
    # The child has a copy of what the thread sanitizer knows of the holder, whom only the parent can join.
    unjoined = telling_sanitizer("report_thread_leaks=0")
    with lab["right"].start(lab.program("fork_with_lock"), "--atfork", environment=unjoined) as program:
        assert comes_true(lambda: program.exit_code == 0)
        assert "the child has the lock" in program.stdout


def blocks_all(node: Node, task: proc.Task) -> bool:
    return all(proc.blocks(node, task.pid, number) for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP))


def start_signal_thread(lab: Lab, workers: int) -> Process:
    """The program, once all its threads have begun, or one of them has ended it."""
    program = lab["right"].start(lab.program("signal_thread"), "--workers", str(workers))
    comes_true(lambda: program.stdout.count("worker") == workers or program.exit_code is not None)
    comes_true(lambda: any(task.name == "signals" for task in proc.threads(lab["right"], program.pid)))
    return program


@pytest.mark.book("14.8.3")
@pytest.mark.mutant("threads are started before signals are blocked", faulty("signal_thread", "MASK_LATE"))
def test_one_thread_takes_all_signals(lab: Lab) -> None:
    """Every thread inherits the mask of the one that started it. All block; the one in sigwait takes what comes.

    /proc shows it: as long as a thread waits in sigwait, the kernel takes what it waits for out of its mask (SigBlk).
    """
    right = lab["right"]
    with start_signal_thread(lab, 3) as program:
        tasks = proc.threads(right, program.pid)
        assert comes_true(lambda: [one.name for one in tasks if not blocks_all(right, one)] == ["signals"])
        (taker,) = [task.pid for task in tasks if task.name == "signals"]
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2):
            right.run("kill", f"-{number}", str(program.pid)).check()
            assert comes_true(lambda name=number.name: f"thread {taker} has {name}\n" in program.stdout)  # type: ignore[misc]
        assert program.stop().exit_code == 0


@pytest.mark.book("14.8.3")
@pytest.mark.mutant("threads get the address of a loop's variable", faulty("signal_thread", "STACK_ADDRESS"))
def test_every_thread_has_its_own_number(lab: Lab) -> None:
    """A thread that is given an address reads it later, when the loop has gone on and its variable is no more.

    It must be given a value, or memory that lives as long as it does.
    """
    with start_signal_thread(lab, 6) as program:
        said = sorted(line for line in program.stdout.splitlines() if line.startswith("worker"))
        assert said == [f"worker {number}" for number in range(1, 7)]
        names = {task.name for task in proc.threads(lab["right"], program.pid)}
        assert {f"worker-{number}" for number in range(1, 7)} <= names


@pytest.mark.book("14.7")
@pytest.mark.mutant("the sum is not guarded", faulty("lockers", "RACE"))
def test_what_many_threads_add_up_is_right(lab: Lab) -> None:
    """Eight threads around a buffer of eight places: a semaphore for the places, a mutex for the buffer, a condition.

    The addition is done with the mutex held. Without it two threads read the same sum, and one addition is lost.
    """
    done = lab["right"].run(lab.program("lockers"), "--items", "4000").check()
    assert done.stdout.splitlines()[0] == f"sum {4000 * 4001 // 2}"
    assert done.stdout.splitlines()[1] == "locked twice: pthread_mutex_lock: Resource deadlock avoided"
