"""The kinds and options of services, by models that are not known here: each kind brings its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from lab.load.build import problem
from lab.load.problem import Problem
from lab.spec.models import ServiceSpec
from lab.spec.needs import all_services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.spec.models import Topology

Services = Mapping[str, type[BaseModel]]
"""By kind, the model of its options."""

_OWN = tuple(key for key in ServiceSpec.model_fields if key != "options")


def problems(topology: Topology, kinds: Callable[[], Services]) -> Iterator[Problem]:
    """Yield unknown kinds and wrong options, in no particular order.

    Args:
        kinds: called only if there is a service.
    """
    found = tuple(all_services(topology))
    services = kinds() if found else {}
    for (node, name), spec in found:
        path = ("nodes", node, "services", name)
        kind = spec.kind or name
        model = services.get(kind)
        if model is None:
            text = f'unknown service "{kind}"'
            if spec.kind:
                yield Problem((*path, "kind"), text, unknown=kind, known=services)
            else:
                yield Problem(path, text, at_key=True, unknown=kind, known=services)
            continue
        try:
            model.model_validate(spec.options)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                yield problem(details, (*_OWN, *model.model_fields), path)
