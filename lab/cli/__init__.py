"""The command line. `lab --help` must come at once, so each command is imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done · 1 failed · 2 wrong use or wrong file · 3 something missing on this machine · 130 interrupted;
    `lab exec` and `lab shell` return the program's own.
    """
    from lab.cli.parser import parse  # noqa: PLC0415 - see above

    return run(parse(sys.argv[1:] if arguments is None else arguments))


def run(options: object) -> int:
    """Call the command that was asked for; a foreseen error becomes one line."""
    import importlib  # noqa: PLC0415
    import os  # noqa: PLC0415

    from lab.errors import LabError  # noqa: PLC0415

    try:
        command = importlib.import_module(f"lab.cli.{options.module}")  # type: ignore[attr-defined]
        code: int = command.run(options)
        sys.stdout.flush()
    except LabError as error:
        if options.debug:  # type: ignore[attr-defined]
            raise
        print(f"lab: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code
