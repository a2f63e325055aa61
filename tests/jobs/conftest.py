"""A static model, which computes as fast as its texts are read."""

from __future__ import annotations

import pytest

from support import static_model


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a model of 12 dimensions."""
    return str(static_model.make(tmp_path_factory.mktemp("models") / "quick"))
