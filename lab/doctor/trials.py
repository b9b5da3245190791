"""The process that carries the trials out: `python -m lab.doctor.trials` prints the findings as JSON.

It is started afresh, as user namespaces are for processes with one thread, and each trial is a fork of it.
"""

from __future__ import annotations

import json
import sys

from lab.doctor import features, isolation, links, machine, network, user_ids
from lab.doctor.finding import to_data
from lab.doctor.trial import Trial, run_all

_SECONDS = 10.0


def every_trial() -> list[Trial]:
    """Return all of them, in the order of the table."""
    return [
        *isolation.trials(),
        *network.trials(),
        *links.trials(),
        *features.trials(),
        *machine.trials(),
        *user_ids.trials(),
    ]


def main() -> None:
    """Carry them out."""
    json.dump(to_data(run_all(every_trial(), _SECONDS)), sys.stdout)


if __name__ == "__main__":
    main()
