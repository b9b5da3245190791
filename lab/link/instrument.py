"""What a test holds of a programmable wire: it decides about single packets."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from lab.link.line import Departure
from lab.link.relay import Relay
from lab.link.rules import Action, Intervention, Predicate, Rule, Way
from lab.link.wire import Wire

_NANOSECONDS = 1_000_000_000


class Order:
    """Something that a wire has been told to do; it does so until it is cancelled."""

    def __init__(self, link: Link, rule: Rule) -> None:
        self._link = link
        self._rule = rule

    @property
    def done(self) -> int:
        """How many packets it has been done to."""
        return self._rule.done

    def cancel(self) -> None:
        """Do it no longer; packets that were kept back go on now, in the order in which they came."""
        self._link.take_away(self._rule)

    def __str__(self) -> str:
        return str(self._rule)


class Link:
    """The wire of one interface, which does what a test says besides what the topology file says.

        link = lab["client"].link("lan")
        link.drop(tcp.is_syn, nth=1)

    Every order holds from the next packet that comes to the wire. `where` is a predicate as in `Trace.where`;
    `nth` is the number, or the numbers, of the packet among those that `where` holds for, counted from 1;
    `direction` is "out" or "in" as the node sees it, both if left out. Orders are looked at in the order in which
    they were given; a packet that is dropped or kept back is not shown to those behind. A predicate that raises
    is cancelled, its packet goes on, and the exception is reported as that of a thread.

    Raises of each method:
        BackendError: the lab is down.
    """

    def __init__(self, wire: Wire, relay: Relay) -> None:
        self._wire = wire
        self._relay = relay

    def drop(
        self, where: Predicate | None = None, *, nth: int | Collection[int] = (), direction: Way | None = None
    ) -> Order:
        """Lose packets."""
        return self._add("drop", where, nth, direction)

    def hold(
        self, where: Predicate | None = None, *, nth: int | Collection[int] = (), direction: Way | None = None
    ) -> Order:
        """Keep packets back, until `release` or until the order is cancelled."""
        return self._add("hold", where, nth, direction)

    def release(self) -> None:
        """Cancel every `hold`: what was kept back goes on now, in the order in which it came."""
        self.take_away(*(rule for rule in self._wire.rules if rule.action == "hold"))

    def duplicate(
        self,
        where: Predicate | None = None,
        *,
        nth: int | Collection[int] = (),
        direction: Way | None = None,
        copies: int = 1,
    ) -> Order:
        """Send packets again at once, `copies` times."""
        return self._add("duplicate", where, nth, direction, copies)

    def reorder(
        self, where: Predicate | None = None, *, nth: int | Collection[int] = (), direction: Way | None = None
    ) -> Order:
        """Let the next packet of the same direction overtake; without one, the packet stays until `cancel`."""
        return self._add("reorder", where, nth, direction)

    def delay(
        self,
        seconds: float,
        where: Predicate | None = None,
        *,
        nth: int | Collection[int] = (),
        direction: Way | None = None,
    ) -> Order:
        """Let packets arrive so much later; others overtake them."""
        return self._add("delay", where, nth, direction, round(seconds * _NANOSECONDS))

    def corrupt(
        self, where: Predicate | None = None, *, nth: int | Collection[int] = (), direction: Way | None = None
    ) -> Order:
        """Turn one bit over, somewhere behind the Ethernet header; which one is drawn from the lab's seed."""
        return self._add("corrupt", where, nth, direction)

    def clear(self) -> None:
        """Cancel every order."""
        self.take_away(*self._wire.rules)

    @property
    def log(self) -> tuple[Intervention, ...]:
        """What the wire did to packets besides carrying them, since the first `link` call, oldest first."""
        return tuple(self._wire.log)

    def take_away(self, *rules: Rule) -> None:
        """Cancel the orders of these rules."""

        def do_it(now: int) -> Iterable[tuple[Wire, Way, Departure]]:
            return [(self._wire, way, departure) for way, departure in self._wire.take_away(rules, now)]

        self._relay.perform(do_it)

    def _add(
        self,
        action: Action,
        where: Predicate | None,
        nth: int | Collection[int],
        direction: Way | None,
        amount: int = 0,
    ) -> Order:
        rule = Rule(action, where, frozenset((nth,) if isinstance(nth, int) else nth), direction, amount)

        def do_it(_now: int) -> Iterable[tuple[Wire, Way, Departure]]:
            self._wire.rules = (*self._wire.rules, rule)
            return ()

        self._relay.perform(do_it)
        return Order(self, rule)
