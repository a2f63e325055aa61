"""Warnings of other libraries that tests may meet."""

from __future__ import annotations

import pytest

# PEFT warns of every option that is tested: embeddings saved as well, magnitudes, ranks, tied weights.
PEFT = [
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # PEFT asks transformers for it
]
