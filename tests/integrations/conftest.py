"""A real model by its reference and open, and a fake one that takes images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder

from support.seeing import seeing


@pytest.fixture(scope="module")
def reference(converted: Path) -> str:
    return f"{converted}:int8"


@pytest.fixture(scope="module")
def embedder(reference: str) -> Iterator[Embedder]:
    with Embedder(reference) as found:
        yield found


@pytest.fixture(scope="module")
def sees(tiny_tokenizer: Path) -> Embedder:
    return seeing(tiny_tokenizer)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    path = tmp_path_factory.mktemp("images") / "one.png"
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(path)
    return path
