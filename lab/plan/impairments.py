"""What happens to frames on an interface, from its spec or from settings given at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lab.errors import UsageError
from lab.plan.model import Impairment
from lab.spec.directions import directions, faults, is_impaired
from lab.spec.models import ImpairmentSpec, InterfaceSpec
from lab.spec.quantities import Queue
from lab.spec.quoting import listed, show

if TYPE_CHECKING:
    from collections.abc import Mapping

_ETHERNET_HEADER = 14
_DEFAULT_QUEUE = Queue(packets=100)
_DIRECTIONS = ("out", "in")


def impairments(spec: InterfaceSpec, mtu: int) -> tuple[Impairment | None, Impairment | None]:
    """Return what happens to the frames that the node sends, and to those that it is sent.

    Args:
        mtu: bytes; a queue's packets are as large.
    """
    found = directions(spec)
    return _impairment(found["out"], mtu), _impairment(found["in"], mtu)


def from_settings(settings: Mapping[str, Any], mtu: int) -> tuple[Impairment | None, Impairment | None]:
    """Return the same of settings as a topology file has them: {"delay": "10ms", "out": {"loss": "1%"}}.

    Raises:
        UsageError: an unknown setting, or a value that makes no sense.
    """
    known = (*ImpairmentSpec.model_fields, *_DIRECTIONS)
    unknown = [name for name in settings if name not in known]
    if unknown:
        msg = f"unknown impairment {show(unknown[0])}; allowed: {listed(known, limit=len(known))}"
        raise UsageError(msg)
    try:
        spec = InterfaceSpec.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        msg = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise UsageError(msg) from error
    for one in directions(spec).values():
        for key, text in faults(one):
            msg = f"{key}: {text}"
            raise UsageError(msg)
    return impairments(spec, mtu)


def _impairment(spec: ImpairmentSpec, mtu: int) -> Impairment | None:
    if not is_impaired(spec):
        return None
    rate = spec.rate or 0
    return Impairment(
        delay_us=spec.delay or 0,
        jitter_us=spec.jitter or 0,
        rate_bit=rate,
        queue_bytes=(spec.queue or _DEFAULT_QUEUE).in_bytes(mtu + _ETHERNET_HEADER) if rate else 0,
        loss=spec.loss or 0.0,
        duplicate=spec.duplicate or 0.0,
        reorder=spec.reorder or 0.0,
        corrupt=spec.corrupt or 0.0,
    )
