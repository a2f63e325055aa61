"""A static model with random rows, of a distilled one's size: speed does not depend on its values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

DIM = 256


def write(folder: Path, tokenizer: Path, dim: int = DIM) -> Path:
    """Write a table with a row for each word of a tokenizer.json, laid out as model2vec's -> the folder."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer

    words = Tokenizer.from_file(str(tokenizer)).get_vocab_size()
    table = np.random.default_rng(0).standard_normal((words, dim), np.float32)
    folder.mkdir(parents=True)
    save_file({"embeddings": table}, folder / "model.safetensors")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    return folder
