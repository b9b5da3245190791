"""A real network on one machine: topologies in YAML, real servers, real packets, pytest checks."""
