"""What an image is built from: a hash of it, and the archive of it that the daemon gets."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BUILT = ("build", "__pycache__")  # folders of what was made from the sources beside them
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Image:
    """An image, built or not.

    Attributes:
        folders: what the Dockerfile may copy: folders of this machine, by where they are in the build's context. The
            Dockerfile itself is in the first, which is at "".
    """

    name: str
    folders: Mapping[str, Path]

    def digest(self, base: str) -> str:
        """Return what tells this state of the sources, on top of a base image of this id, from every other."""
        found = hashlib.sha256(base.encode())
        for name, path in self._files():
            content = path.read_bytes()
            found.update(f"\n{name} {_mode(path):o} {len(content)}\n".encode())
            found.update(content)
        return found.hexdigest()[:_DIGITS]

    def archive(self) -> io.BytesIO:
        """Return the build's context as a tar file; it has no times or owners, so equal sources give equal layers."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, path in self._files():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = path.stat().st_size, _mode(path)
                with path.open("rb") as file:
                    tar.addfile(entry, file)
        archive.seek(0)
        return archive

    def _files(self) -> Iterator[tuple[str, Path]]:
        for place, folder in self.folders.items():
            for path in sorted(folder.rglob("*")):
                below = path.relative_to(folder)
                if path.is_file() and not set(_BUILT).intersection(below.parts):
                    yield str(Path(place) / below), path


def _mode(path: Path) -> int:
    """Return the mode of a file in the context: of those on disk only whether it is executable is the sources'."""
    return 0o755 if path.stat().st_mode & 0o100 else 0o644
