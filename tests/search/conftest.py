"""The fake model of an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_embed import Embedder

from support.search import fake_model


@pytest.fixture
def model(tiny_tokenizer: Path) -> Embedder:
    return fake_model(tiny_tokenizer)
