"""The container images that labs run in: what there is, when each has to be built anew, and how.

An image is a folder in `images/` with a Dockerfile. Its tag is a hash of all that goes into it, so an image that is
there under its tag is never built again, and one that has changed always is.

The Docker SDK is imported where it is used: most commands have nothing to do with it.
"""

from __future__ import annotations

from lab.images.build import ensure
from lab.images.table import for_node

__all__ = ["ensure", "for_node"]
