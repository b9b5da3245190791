"""`lab doctor`."""

from __future__ import annotations

import argparse
import json

from lab import doctor


def run(options: argparse.Namespace) -> int:
    """Print what works and what does not; 1 if labs cannot run."""
    findings = doctor.examine()
    text = json.dumps(doctor.to_data(findings), indent=2) if options.format == "json" else doctor.render(findings)
    print(text.rstrip("\n"))
    return 0 if doctor.is_healthy(findings) else 1
