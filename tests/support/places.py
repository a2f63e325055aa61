"""Where things lie in a checkout, and beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
MINIATURES = ROOT.parent / "shared" / "models"  # trained miniatures of the v5 family, where somebody has put them
