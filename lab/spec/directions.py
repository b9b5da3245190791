"""What an interface's spec comes to in each direction. Needed to check a file and to plan a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.spec.models import ImpairmentSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.spec.models import InterfaceSpec


_KEYS = tuple(ImpairmentSpec.model_fields)
_NOTHING = ImpairmentSpec()


def directions(spec: InterfaceSpec) -> dict[str, ImpairmentSpec]:
    """Return the impairments by the file's key of the direction, "out" and "in": what is said of it, then of both."""
    both = _said(spec)
    told = {"out": {**both, **_said(spec.out)}, "in": {**both, **_said(spec.incoming)}}
    return {way: ImpairmentSpec.model_construct(**one) if one else _NOTHING for way, one in told.items()}


def is_impaired(spec: ImpairmentSpec) -> bool:
    """Whether it changes anything."""
    return any((spec.delay, spec.rate, spec.loss, spec.duplicate, spec.corrupt))


def faults(spec: ImpairmentSpec) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong with it) where one impairment makes no sense without another."""
    if spec.jitter and spec.jitter > (spec.delay or 0):
        yield "jitter", "more than the delay, and nothing arrives before it is sent; make delay as long at least"
    if spec.reorder and not spec.delay:
        yield "reorder", "a frame overtakes others by not being delayed; add a delay"
    if spec.queue and not spec.rate:
        yield "queue", "nothing waits on a link that is as fast as can be; add a rate"


def _said(spec: InterfaceSpec | ImpairmentSpec | None) -> dict[str, Any]:
    if spec is None:
        return {}
    return {key: value for key in _KEYS if (value := getattr(spec, key)) is not None}
