"""The whole examination: the trials, in a process of their own, and the tools."""

from __future__ import annotations

import json
import sys

from lab.command import output_of
from lab.doctor.finding import Finding
from lab.doctor.tools import look_for_tools
from lab.errors import LabError


def examine() -> list[Finding]:
    """Try everything once, and leave the calling process and the machine as they were.

    What cannot even be tried is a finding too; nothing is raised.
    """
    return [*_try_all(), *look_for_tools()]


def _try_all() -> list[Finding]:
    try:
        # -P: the folder that a user stands in is no place to import from.
        printed = output_of([sys.executable, "-P", "-m", "lab.doctor.trials"])
    except LabError as error:
        remedy = f"find out why this fails: {sys.executable} -P -m lab.doctor.trials"
        return [Finding("trials", "isolation", ok=False, required=True, detail=str(error), remedy=remedy)]
    return [Finding(**found) for found in json.loads(printed)]
