"""Labs that are killed at every step, by whoever runs this: `python -P -m tests.rounds VICTIM`.

The victim is the lab's `owner`, `guard` or `nursery`, its `client`, or the `command` that brings up one which
stays; `interrupt` is Ctrl-C for that command. Prints what became of each and what was left of it, as JSON.
A round is a process of its own, so that it can be the victim as well; nobody else may use the folder of labs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from lab.backends.netns.client import NetnsBackend
from lab.backends.owned import messages, registry
from lab.backends.owned.handle import OwnedLab
from lab.cli import main, up
from lab.errors import LabError, WaitTimeoutError
from lab.load import load
from lab.plan.model import Plan
from lab.plan.planner import plan
from lab.wait import wait_until
from tests.machine import differences, holders, marked_processes, namespaces_of, snapshot, ticks
from tests.users import MARK, REDIRECT

COMMANDS = {"command": signal.SIGKILL, "interrupt": signal.SIGINT}
# The promise says a second; on a machine with more to do than these tests a process may wait long to be killed.
_GONE_WITHIN = 5.0
_SLEEPER = ("sleep", "1234")
_DAEMON = ("setsid", "--fork", "env", "-i", *_SLEEPER)  # whose environment tells nothing of where it comes from
_PROGRAMS = 4  # that sleep: two of them came from outside
_STUBBORN = ("sh", "-c", 'trap "" TERM HUP INT; while :; do sleep 1234; done')


def sleepers(lab: OwnedLab) -> int:
    return sum(program["command"] == list(_SLEEPER) for program in lab.processes())


def redirect(name: str) -> Plan:
    """Return the plan of topologies/redirect.yaml under another name."""
    return replace(plan(load(Path(REDIRECT))), name=name)


def all_rounds(victim: str) -> dict[str, Any]:
    """Kill the victim at every step of up, while the lab runs and during down."""
    backend = NetnsBackend()
    backend.prepare()
    before = snapshot()
    keep = set(marked())
    moments = () if victim in COMMANDS else ("run", "down")
    rounds = [one_round(backend, victim, moment, 0, keep) for moment in moments]
    step = 0
    while not rounds or rounds[-1]["step"] != "none":  # a lab that came up before so many steps were taken
        rounds.append(one_round(backend, victim, "up", step, keep))
        step += 1
    backend.close()
    return {"rounds": rounds, "machine": differences(before, snapshot())}


def one_round(backend: NetnsBackend, victim: str, moment: str, step: int, keep: set[int]) -> dict[str, Any]:
    """Let a client bring a lab up and kill the victim, and return what it told and what is left.

    Args:
        keep: the processes that stay from round to round.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        client = Client(NetnsBackend() if victim == "nursery" else backend, victim, writer)
        client.run_command(step) if victim in COMMANDS else client.play(moment, step)
    os.close(writer)
    with os.fdopen(reader) as told:
        facts: dict[str, Any] = {"moment": moment, "step": "none", "outcome": "killed", "namespaces": [], "at": 0}
        for line in told:
            facts |= json.loads(line)
    os.waitpid(process, 0)
    watched = set(facts.pop("namespaces"))
    return {**facts, "watched": len(watched), "left": left(watched, facts["at"], keep)}


def marked() -> dict[int, str]:
    return marked_processes(f"{MARK}={os.environ[MARK]}")


def left(namespaces: set[str], at: int, keep: set[int]) -> str:
    """Return what is left of a round's lab when it has had the time to go: nothing, it is to be hoped."""

    def found() -> str:
        processes = [line for process, line in marked().items() if process not in keep]
        files = [f"{folder}/{name}" for folder, _, names in os.walk(registry.root()) for name in (*names, "")]
        return ", ".join([*processes, *holders(namespaces, at), *files])

    try:
        wait_until(lambda: not found(), timeout=_GONE_WITHIN, what="the lab to be gone")
    except WaitTimeoutError:
        return found()
    return ""  # asked once more, the kernel might have given the numbers to a lab that comes up just now


class Client:
    """One who has a lab, in a process of its own that never returns."""

    def __init__(self, backend: NetnsBackend, victim: str, telling: int) -> None:
        """`telling` is a pipe to who waits outside."""
        self.backend = backend
        self.victim = victim
        self.name = f"round-{os.getpid()}"
        self.telling = telling
        self.steps = 0

    def tell(self, **facts: Any) -> None:
        os.write(self.telling, json.dumps(facts).encode() + b"\n")

    def play(self, moment: str, step: int) -> NoReturn:
        def on_step(name: str) -> None:
            if moment == "up" and self.steps == step:
                self.tell(step=name)
                self.kill()
            self.steps += 1

        try:
            lab = self.backend.up(redirect(self.name), on_step=on_step)
            {"up": self.use, "run": self.run, "down": self.go_down}[moment](lab)
            self.tell(outcome="no error")
        except LabError as error:
            self.tell(outcome=f"{type(error).__name__}: {error}")
        except BaseException as error:  # noqa: BLE001 - told to who waits outside
            self.tell(outcome=f"not foreseen: {error!r}")
        finally:
            os._exit(0)

    def run_command(self, step: int) -> NoReturn:
        """Call `lab up`, in a process group of its own as a shell would."""
        os.setpgid(0, 0)

        def show(_progress: up.Progress, name: str) -> None:
            if self.steps == step:
                self.tell(step=name)
                os.killpg(0, COMMANDS[self.victim])
            self.steps += 1

        setattr(up, "NetnsBackend", lambda: self.backend)  # noqa: B010 - whose nursery is warm
        setattr(up.Progress, "show", show)  # noqa: B010 - mypy minds the assignment
        setattr(up.Progress, "is_seen", True)  # noqa: B010 - mypy minds the assignment
        try:
            with Path(os.devnull).open("w") as null, contextlib.redirect_stdout(null):
                code = main(["up", REDIRECT, "--name", self.name])
                if code == 0:
                    main(["down", self.name])
            self.tell(outcome=f"exit code {code}")
        except BaseException as error:  # noqa: BLE001 - told to who waits outside
            self.tell(outcome=f"not foreseen: {error!r}")
        finally:
            os._exit(0)

    def use(self, lab: OwnedLab) -> None:
        """End a lab that came up all the same, if it is still there."""
        if self.victim == "nursery" or self.steps == 0:
            lab.processes()
        lab.down()

    def run(self, lab: OwnedLab) -> None:
        """Have programs of every stubbornness in the lab, then kill."""
        self.tell(step="run")
        entrants = self.occupy(lab)
        self.kill()
        if self.victim == "nursery":
            lab.processes()
            lab.down()
        for entrant in entrants:
            entrant.wait()

    def go_down(self, lab: OwnedLab) -> None:
        """Kill when the owner has the order to end and has not carried it out yet."""
        self.tell(step="down")
        entrants = self.occupy(lab)
        owner, guard = self.facts()["owner"], self.facts()["guard"]
        victim = self.watch()
        os.kill(owner, signal.SIGSTOP)
        with registry.connect(self.name) as connection:
            messages.send(connection, {"do": "down"})
            if self.victim == "client":
                os.kill(owner, signal.SIGCONT)
            os.kill(victim, signal.SIGKILL)
            if self.victim == "guard":
                # If both ended in the same instant, the folder would be cleared away by the next command only.
                wait_until(lambda: not Path(f"/proc/{guard}").exists(), timeout=_GONE_WITHIN, what="the guard's end")
            with contextlib.suppress(ProcessLookupError):  # it was the victim
                os.kill(owner, signal.SIGCONT)
        for entrant in entrants:
            entrant.wait()

    def occupy(self, lab: OwnedLab) -> list[subprocess.Popen[bytes]]:
        """Run a daemon, one that ignores SIGTERM, one that came in from outside and one such that is stopped."""
        with Path(os.devnull).open("r+b") as null:
            files = (null.fileno(), null.fileno(), null.fileno())
            for program in (_DAEMON, _STUBBORN):
                lab.spawn("better", program, environment=os.environ, cwd=Path("/"), files=files)
            enter = [*lab.entrance("target"), *_SLEEPER]
            entrants = [subprocess.Popen(enter, stdin=null, stdout=null, stderr=null) for _ in range(2)]
        wait_until(lambda: sleepers(lab) == _PROGRAMS, timeout=_GONE_WITHIN, what="the programs to run")
        if self.victim != "guard":  # who would wake it up
            os.kill(entrants[0].pid, signal.SIGSTOP)
        return entrants

    def facts(self) -> dict[str, Any]:
        wait_until(lambda: "owner" in registry.owner_of(self.name), timeout=_GONE_WITHIN, what="owner.json")
        return registry.owner_of(self.name)

    def kill(self) -> None:
        os.kill(self.watch(), signal.SIGKILL)

    def watch(self) -> int:
        """Tell what namespaces the lab has, which nobody may ask of an owner that is ending; return the victim."""
        facts = self.facts()
        assert self.backend._nursery
        self.tell(namespaces=sorted(namespaces_of(facts["owner"])), at=ticks())
        victims: dict[str, int] = {**facts, "nursery": self.backend._nursery[0].pid, "client": os.getpid()}
        return victims[self.victim]


if __name__ == "__main__":
    json.dump(all_rounds(sys.argv[1]), sys.stdout)
