"""A static model, which computes as fast as its texts are read; texts, and what it makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder

from support import static_model
from support.jobs import texts, write_jsonl


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a model of 12 dimensions."""
    return str(static_model.make(tmp_path_factory.mktemp("models") / "quick"))


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "in.jsonl", texts(60))


@pytest.fixture(scope="session")
def expected(quick: str) -> np.ndarray:
    with Embedder(quick) as model:
        return model.encode(texts(60))
