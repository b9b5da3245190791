"""The cuts in force: values, so that each change is a new one to compare with the last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from lab.errors import UsageError
from lab.faults.model import Fault
from lab.faults.places import Extent, Places, Wiring, extent


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut, in the words it was asked for."""

    words: str
    extent: Extent
    carrier: bool = False


def cut_of(wiring: Wiring, fault: Fault) -> Cut:
    """Return the cut that a `cut` or `partition` makes, or that a `restore` with targets undoes.

    Raises:
        UsageError: nothing is named, the lab has nothing of that name, or it cannot be cut so.
    """
    words = " ".join(fault.targets)
    if fault.action == "partition" and len(fault.targets) == 1:
        raise UsageError(f"found one group, {words}; a partition is between two at least, like a,b c")
    found = extent(wiring, fault.targets)
    if fault.carrier and not found.whole:
        raise UsageError(f"{words}: a carrier is an interface's; it cannot be taken away between two nodes")
    return Cut(words, found, fault.carrier)


@dataclass(frozen=True, slots=True)
class Cuts:
    """All that is cut, in the order in which it was."""

    active: tuple[Cut, ...] = ()

    @property
    def silent(self) -> Places:
        """Interfaces that nothing leaves or enters."""
        return frozenset(place for cut in self.active for place in cut.extent.whole)

    @property
    def between(self) -> frozenset[frozenset[Places]]:
        """Pairs of groups between which nothing passes."""
        return frozenset(pair for cut in self.active for pair in cut.extent.between)

    @property
    def without_carrier(self) -> Places:
        """Interfaces whose plug is pulled."""
        return frozenset(place for cut in self.active if cut.carrier for place in cut.extent.whole)

    def adding(self, cut: Cut) -> Self:
        """Return these with one more; one of the same extent is replaced."""
        if any(one.extent == cut.extent and one.carrier == cut.carrier for one in self.active):
            return self
        return replace(self, active=(*(one for one in self.active if one.extent != cut.extent), cut))

    def restoring(self, cut: Cut) -> Self:
        """Return these without the one of that extent; the same if nothing there is cut.

        Raises:
            UsageError: another cut, of another extent, keeps some of it down.
        """
        left = tuple(one for one in self.active if one.extent != cut.extent)
        if left == self.active:
            for one in self.active:
                if one.extent.keeps_down(cut.extent):
                    raise UsageError(f'"{cut.words}" is not what was cut; restore what was: "{one.words}"')
        return replace(self, active=left)
