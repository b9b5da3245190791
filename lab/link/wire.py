"""A programmable wire: two lines, one for each direction, and the rules of a test. No input or output, no clock."""

from __future__ import annotations

from collections.abc import Callable

from lab.link.line import UNIMPAIRED, Departure, Line
from lab.link.rules import Intervention, Rule, Way
from lab.plan.model import Impairment
from lab.trace.packet import Packet, decode

_WAYS: tuple[Way, ...] = ("out", "in")


class Wire:
    """Decides about each frame between a node's interface and its switch.

    Rules come first, in the order in which they were made; a frame that they let pass is then subject to the
    impairment. A rule that fails is taken away and told of, and the frame goes on: a broken predicate must not
    cut the link that the test runs over.
    """

    def __init__(
        self,
        node: str,
        interface: str,
        out: Impairment | None = None,
        incoming: Impairment | None = None,
        *,
        seed: int = 1,
        epoch: int = 0,
        keep_log: bool = True,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        """Make a wire without rules.

        Args:
            epoch: what to add to the caller's clock to get nanoseconds since 1970.
            keep_log: whether anybody will read it.
            on_error: called with what a predicate raised; raised where it is None.
        """
        self.node = node
        self.interface = interface
        self.log: list[Intervention] = []
        self.rules: tuple[Rule, ...] = ()
        self._epoch = epoch
        self._keep_log = keep_log
        self._on_error = on_error
        self._now = 0
        impairments: dict[Way, Impairment | None] = {"out": out, "in": incoming}
        self._lines = {way: self._line(way, impairment, seed) for way, impairment in impairments.items()}
        self._held: list[tuple[Rule, Way, bytes]] = []
        self._overtaken: dict[Way, list[tuple[Rule, bytes]]] = {way: [] for way in _WAYS}

    def is_plain(self, way: Way) -> bool:
        """Whether `decide` would send every frame at once."""
        return not self.rules and self._lines[way].impairment is UNIMPAIRED

    def impair(self, out: Impairment | None, incoming: Impairment | None) -> None:
        """Replace the impairments, from the next frame on."""
        self._lines["out"].impairment = out or UNIMPAIRED
        self._lines["in"].impairment = incoming or UNIMPAIRED

    def decide(self, way: Way, frame: bytes, now: int) -> list[Departure]:
        """Return when the frame leaves at the other end, and whatever leaves because of it.

        Args:
            now: nanoseconds of a clock that never goes back.
        """
        self._now = now
        line = self._lines[way]
        if not self.rules:
            return line.transmit(frame, now)
        packet = self._packet(way, frame)
        frames, late = [frame], 0
        for rule in self.rules:
            if not self._applies(rule, packet):
                continue
            self._record(rule.action, str(rule), packet)
            match rule.action:
                case "drop":
                    return []
                case "hold":
                    self._held.append((rule, way, frame))
                    return []
                case "reorder":
                    self._overtaken[way].append((rule, frame))
                    return []
                case "duplicate":
                    frames += [frame] * rule.amount
                case "delay":
                    late += rule.amount
                case "corrupt":
                    frames = [line.corrupted(one) for one in frames]
        overtaken = [one for _rule, one in self._overtaken[way]]
        self._overtaken[way] = []
        return [
            *(departure for one in frames for departure in line.transmit(one, now, late)),
            *(departure for one in overtaken for departure in line.transmit(one, now)),
        ]

    def take_away(self, rules: tuple[Rule, ...], now: int) -> list[tuple[Way, Departure]]:
        """Take rules away, and return when what they have kept back leaves, in the order in which it came."""
        self._now = now
        self.rules = tuple(rule for rule in self.rules if rule not in rules)
        overtaken = [(rule, way, frame) for way in _WAYS for rule, frame in self._overtaken[way]]
        freed = [(way, frame) for rule, way, frame in (*self._held, *overtaken) if rule in rules]
        self._held = [entry for entry in self._held if entry[0] not in rules]
        for way in _WAYS:
            self._overtaken[way] = [entry for entry in self._overtaken[way] if entry[0] not in rules]
        departures = []
        for way, frame in freed:
            self._note(way, "release", "release", frame)
            departures += [(way, departure) for departure in self._lines[way].transmit(frame, now)]
        return departures

    def _line(self, way: Way, impairment: Impairment | None, seed: int) -> Line:
        return Line(
            impairment,
            f"{seed} {self.node} {self.interface} {way}",
            lambda action, reason, frame: self._note(way, action, reason, frame),
        )

    def _applies(self, rule: Rule, packet: Packet) -> bool:
        try:
            return rule.applies(packet)
        except Exception as error:
            if self._on_error is None:
                raise
            self.rules = tuple(one for one in self.rules if one is not rule)
            self._on_error(error)
            return False

    def _packet(self, way: Way, frame: bytes) -> Packet:
        return decode(frame, time_ns=self._epoch + self._now, node=self.node, interface=self.interface, direction=way)

    def _note(self, way: Way, action: str, reason: str, frame: bytes) -> None:
        if self._keep_log:
            self._record(action, reason, self._packet(way, frame))

    def _record(self, action: str, reason: str, packet: Packet) -> None:
        if self._keep_log:
            self.log.append(Intervention(action, reason, packet))
