"""`python -m lab.cli`, which is what the `lab` command runs."""

import sys

from lab.cli import main

sys.exit(main())
