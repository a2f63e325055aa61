"""The files of a model's folder by name and size, wherever they lie: on this disk, or on a hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

DEPTH = 3  # folders below the model's own that are looked into: adapters/TASK/ is the deepest that a layout has


@dataclass(frozen=True)
class Listing:
    """File names, relative to `folder` with `/` between parts, and sizes in bytes (None: not known).

    `fetch_header` gives a stand-in for a file that is not in the folder: as long as the file, with the bytes of its
    header. Without it every file that is listed lies in the folder. `stand_ins`: the folder holds nothing else.
    `inside` stands before the names where they are those of a sub-folder: with it a repository has them.
    """

    folder: Path
    sizes: Mapping[str, int | None]
    fetch_header: Callable[[str], Path] | None = None
    stand_ins: bool = False
    inside: str = ""

    @staticmethod
    def of(folder: Path) -> Listing:
        """List the files of a folder on this disk; hidden ones are left out."""
        sizes: dict[str, int | None] = {}
        for place, folders, files in os.walk(folder, followlinks=True):
            inner = Path(place).relative_to(folder)
            deep = len(inner.parts) >= DEPTH - 1
            folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
            for path in (Path(place, name) for name in sorted(files) if not name.startswith(".")):
                if path.is_file():
                    sizes[(inner / path.name).as_posix()] = path.stat().st_size
        return Listing(folder, sizes)

    def __contains__(self, name: object) -> bool:
        return name in self.sizes

    @property
    def top(self) -> list[str]:
        """The names in the folder itself."""
        return [name for name in self.sizes if "/" not in name]

    def has(self, name: str) -> bool:
        """Whether a file is in the folder, whole."""
        return name in self.sizes and not self.stand_ins and (self.folder / name).exists()

    def header(self, name: str) -> Path:
        """Return a file that begins as the named one does and is as long; what follows the header may be a hole."""
        if self.fetch_header is None or self.has(name):
            return self.folder / name
        return self.fetch_header(name)

    def in_folder(self) -> Listing:
        """Return the listing of what is in the folder already."""
        here = {name: size for name, size in self.sizes.items() if self.has(name)}
        return replace(self, sizes=here, fetch_header=None, stand_ins=False)

    def below(self, place: str) -> Listing:
        """Return the listing of a sub-folder."""
        start, outer = f"{place}/", self.fetch_header
        return Listing(
            self.folder / place,
            {name.removeprefix(start): size for name, size in self.sizes.items() if name.startswith(start)},
            outer and (lambda name: outer(start + name)),
            self.stand_ins,
            self.inside + start,
        )
