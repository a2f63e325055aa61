"""What MLX's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a tiny Qwen3 checkpoint, to be spoilt."""
    tiny.make("qwen3", tmp_path / "tiny", "lasttoken", hidden_size=64)
    return tmp_path / "tiny"
