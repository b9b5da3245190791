"""Clients of the harness' own, which send exactly what a scenario needs and say exactly what came back."""
