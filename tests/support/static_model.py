"""A static model of a few kilobytes, as model2vec writes it: as fast as reading its texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from . import letters


def make(folder: Path, dim: int = 12) -> Path:
    """Write the model to a folder that is yet to be, and return it."""
    folder.mkdir(parents=True)
    table = np.random.default_rng(2).standard_normal((len(letters.WORDS), dim), np.float32)
    save_file({"embeddings": table}, folder / "model.safetensors")
    letters.tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    return folder
