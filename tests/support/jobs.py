"""Files to embed and what a job made of them, for tests of jobs."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

WORDS = "tea cat dog stock market tax basil light warm the a of runs home bus late".split()  # noqa: SIM905


def texts(count: int, seed: int = 1, longest: int = 12) -> list[str]:
    """Return texts of which every eighth has been before."""
    draw = random.Random(seed)
    found: list[str] = []
    for _ in range(count):
        again = found and draw.random() < 1 / 8
        found.append(draw.choice(found) if again else " ".join(draw.choices(WORDS, k=draw.randint(1, longest))))
    return found


def write_jsonl(path: Path, lines: list[str]) -> Path:
    """Write texts with ids as JSON lines."""
    path.write_text("".join(json.dumps({"id": f"n{n}", "text": text}) + "\n" for n, text in enumerate(lines)))
    return path


def digest(out: Path) -> str:
    """Hash the names and bytes of all parts of a job, and what was rejected beside them."""
    found = hashlib.sha256()
    for path in sorted((out / "parts").iterdir()):
        if not path.name.startswith("."):
            found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
