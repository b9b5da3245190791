"""Finds out, by doing each thing once, whether labs can run here, and what mends what is missing."""

from lab.doctor.examination import examine
from lab.doctor.finding import Finding, is_healthy, render, to_data

__all__ = ["Finding", "examine", "is_healthy", "render", "to_data"]
