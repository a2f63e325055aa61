"""The YAML head of a model card, README.md."""

from __future__ import annotations

from pathlib import Path

LONGEST = 1 << 18  # characters of a card in which its head ends


def card_head(path: Path) -> list[str]:
    """Return the lines between the two `---` at a card's beginning; none where there is no card, or no such head."""
    try:
        with path.open(encoding="utf-8", errors="replace") as card:
            first, *lines = card.read(LONGEST).splitlines() or [""]
    except OSError:  # a card only informs
        return []
    end = next((n for n, line in enumerate(lines) if line.startswith("---")), None)
    return [] if first != "---" or end is None else lines[:end]
