"""What a topology file says.

`models` holds the Topology, `values` the texts it is made of, `schema` the JSON Schema for editors, and
`segments` what follows from a Topology alone: it is needed both to check a file and to plan a lab.
"""

from lab.spec.models import InterfaceSpec, NetworkSpec, NodeSpec, RouteSpec, Topology
from lab.spec.schema import topology_schema

__all__ = ["InterfaceSpec", "NetworkSpec", "NodeSpec", "RouteSpec", "Topology", "topology_schema"]
