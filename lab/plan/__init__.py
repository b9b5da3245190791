"""Topology to Plan: pure and deterministic. `model` holds the Plan, `planner` makes it, `text` prints it."""
