"""The faults of a running lab, as its owner carries them out: cuts, dead nodes, the timeline, and the marks of all."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from lab.backends.owned import plugs, power
from lab.backends.owned.built import Built
from lab.errors import LabError, UsageError
from lab.faults.cuts import Cuts, cut_of
from lab.faults.model import Fault, FaultState, Mark
from lab.faults.places import Place, Places
from lab.netlink import bridging
from lab.plan.model import Plan, PlannedEvent, PlannedNode

_MARKS_KEPT = 1000
_LIFTS = ("restore", "start")


class Listener(Protocol):
    """Who is told what happens."""

    def on_mark(self, mark: Mark) -> None:
        """A mark was made."""

    def on_kill(self, node: str) -> None:
        """A node has lost its power."""

    def on_boot(self, node: str) -> None:
        """A node has come up again."""

    def on_impair(self, event: PlannedEvent) -> None:
        """An event of the timeline is to impair an interface."""


@dataclass(slots=True)
class Faults:
    """What has been done to a lab, and what is still to come.

    Attributes:
        off: nodes that were killed.
        due: what is left of the timeline, each with its time on the monotonic clock; None before it starts.
    """

    plan: Plan
    built: Built
    listener: Listener
    cuts: Cuts = field(default_factory=Cuts)
    off: list[str] = field(default_factory=list)
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=_MARKS_KEPT))
    due: deque[tuple[float, PlannedEvent]] | None = None

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a client's request that is about faults."""
        match body["do"]:
            case "fault":
                return {"changed": self.carry_out(Fault.from_data(body["fault"]))}
            case "timeline":
                return {"events": self.start_timeline()}
            case _:
                return {"faults": asdict(self.state())}

    def state(self) -> FaultState:
        """Return all of it as plain data."""
        return FaultState(
            cuts=tuple(f"{cut.words}{' (carrier)' if cut.carrier else ''}" for cut in self.cuts.active),
            off=tuple(self.off),
            marks=tuple(self.marks),
            pending=None if self.due is None else len(self.due),
        )

    def carry_out(self, fault: Fault) -> bool:
        """Do it; return whether that changed anything.

        A mark stands so that what comes before it is of the network before, and what comes after it of the
        network after: behind what takes something away, in front of what gives it back.

        Raises:
            UsageError: the lab has nothing of that name, or it cannot be done there.
            NotSupportedError: this kernel cannot.
        """
        before = time.time_ns()
        changed = self._change(fault)
        if changed:
            self.mark(str(fault), before if fault.action in _LIFTS else time.time_ns())
        return changed

    def mark(self, text: str, time_ns: int) -> None:
        """Note that something was done."""
        self.marks.append(Mark(time_ns, text))
        self.listener.on_mark(self.marks[-1])

    def note_impairment(self, place: Place, details: str) -> None:
        """Note that an interface is impaired from now on; its link may have got a new end, which has a carrier."""
        self._set_carrier(self.cuts.without_carrier & {place}, there=False)
        self.mark(str(Fault("impair", (":".join(place),), details=details)), time.time_ns())

    def refuse_if_off(self, node: str) -> None:
        """Raise if the node was killed.

        Raises:
            UsageError: it was; says how it comes back.
        """
        if node in self.off:
            raise UsageError(f'"{node}" is off: it was killed; "lab start {node}" brings it back')

    def start_timeline(self) -> int:
        """Let the plan's timeline begin now; return how many events it has.

        Raises:
            UsageError: it has begun already.
        """
        if self.due is not None:
            raise UsageError(f"the timeline has begun already; {len(self.due)} of its events are still to come")
        now = time.monotonic()
        self.due = deque((now + event.at_us / 1e6, event) for event in self.plan.timeline)
        return len(self.due)

    def timeout(self) -> float | None:
        """Return in how many seconds the next event of the timeline is due."""
        return max(0.0, self.due[0][0] - time.monotonic()) if self.due else None

    def carry_out_due(self) -> None:
        """Carry out what is due; what cannot be done is a mark too, as nobody waits for an answer."""
        while self.due and self.due[0][0] <= time.monotonic():
            _time, event = self.due.popleft()
            try:
                if event.fault.action == "impair":
                    self.listener.on_impair(event)
                else:
                    self.carry_out(event.fault)
            except (LabError, OSError) as error:
                self.mark(f"{event.fault}: not done: {error}", time.time_ns())

    def _change(self, fault: Fault) -> bool:
        match fault.action:
            case "kill" | "start":
                (node,) = fault.targets
                return self._kill(node) if fault.action == "kill" else self._start(node)
            case "restore":
                return self._recut(self.cuts.restoring(cut_of(self.plan.wiring, fault)) if fault.targets else Cuts())
            case _:
                return self._recut(self.cuts.adding(cut_of(self.plan.wiring, fault)))

    def _recut(self, wanted: Cuts) -> bool:
        """Make the switches do what is wanted, in the calling thread's namespace, which is theirs."""
        if wanted == self.cuts:
            return False
        if (wanted.silent, wanted.between) != (self.cuts.silent, self.cuts.between):
            pairs = (tuple(map(self._ports, pair)) for pair in wanted.between)
            bridging.drop(self._ports(wanted.silent), ((one, other) for one, other in pairs))
        unplugged = wanted.without_carrier - self.cuts.without_carrier
        plugged = self.cuts.without_carrier - wanted.without_carrier
        self._set_carrier(unplugged, there=False)
        self._set_carrier(plugged, there=True)
        self.cuts = wanted  # even if nobody notices
        self._await_carrier(unplugged, there=False)
        self._await_carrier(plugged, there=True)
        return True

    def _set_carrier(self, places: Places, *, there: bool) -> None:
        for place in sorted(places):
            plugs.set_carrier(self.built, place, self._port(place), there=there)

    def _kill(self, name: str) -> bool:
        node = self._planned(name)
        if name in self.off:
            return False
        power.cut(self.built.nodes[node.name], self.built.home)
        self.off.append(name)
        self.listener.on_kill(name)
        return True

    def _start(self, name: str) -> bool:
        node = self._planned(name)
        if name not in self.off:
            return False
        power.restore(node, self.built.nodes[name], self.built.home)
        self.off.remove(name)
        self._await_carrier(self._places(node) - self.cuts.without_carrier, there=True)
        self.listener.on_boot(name)
        return True

    def _planned(self, name: str) -> PlannedNode:
        for node in self.plan.nodes:
            if node.name == name:
                return node
        raise UsageError(f'no node named "{name}"; this lab has {", ".join(node.name for node in self.plan.nodes)}')

    def _await_carrier(self, places: Places, *, there: bool) -> None:
        """Return once these interfaces have noticed, but for those of nodes that are off."""
        for place in places:
            if place[0] not in self.off:
                plugs.await_carrier(self.built, place, self._port(place), there=there)

    def _places(self, node: PlannedNode) -> Places:
        return frozenset((node.name, one.name) for one in node.interfaces)

    def _ports(self, places: Places) -> list[str]:
        return [self._port(place) for place in places]

    def _port(self, place: Place) -> str:
        """Return the name of the interface's port on the network's bridge."""
        node, interface = place
        return next(one.port for one in self._planned(node).interfaces if one.name == interface)
