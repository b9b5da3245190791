"""The nursery of this backend: `python -m lab.backends.netns.nursery DESCRIPTOR`."""

from __future__ import annotations

from lab.backends.netns.maker import NetnsMaker
from lab.backends.owned import nursery


def main() -> None:
    """See `lab.backends.owned.nursery`."""
    nursery.serve(NetnsMaker())


if __name__ == "__main__":
    main()
