"""The original implementation's vectors: texts one by one, so that nothing is padded, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_embed.pipeline.tokenizer import TextTokenizer


def vectors(model: Any, folder: Path, texts: Sequence[str], pooling: str = "mean") -> NDArray[np.float32]:
    """Embed texts with a PyTorch model that gives `last_hidden_state`, cut to 64 tokens of the folder's tokenizer."""
    out = []
    for ids in TextTokenizer(folder / "tokenizer.json", 64).tokenize(texts).ids:
        with torch.inference_mode():
            rows = model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0].numpy()
        vector = {"mean": rows.mean(axis=0), "last": rows[-1], "first": rows[0]}[pooling]
        out.append(vector / np.linalg.norm(vector))
    return np.array(out)
