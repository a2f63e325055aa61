"""Make the OpenVINO int8 model that shapes.py compares with, as optimum-intel's static quantisation makes it.

    python benchmarks/shapes.py nano --keep FOLDER --rounds 1     leaves the random checkpoint there
    python benchmarks/openvino_model.py FOLDER OUT.xml       needs torch, transformers, openvino, nncf

Activations are calibrated on random ids: good for speed, not for quality.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import nncf
import numpy as np
import openvino
import torch
from transformers import AutoModel


class LastToken(torch.nn.Module):
    """The model with its pooling."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the last real token's hidden state of each text."""
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden[torch.arange(hidden.shape[0]), attention_mask.sum(1) - 1]


def samples() -> Iterator[dict[str, Any]]:
    """Yield texts of random ids."""
    rng = np.random.default_rng(0)
    for _ in range(16):
        ids = rng.integers(4, 16000, (1, int(rng.integers(8, 128))))
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def main() -> None:
    """Trace, quantise, save."""
    folder, out = sys.argv[1:]
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    model.config.use_cache = False
    ids = torch.randint(4, 16000, (2, 32))
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0
    with torch.inference_mode():
        traced = openvino.convert_model(LastToken(model), example_input={"input_ids": ids, "attention_mask": mask})
    data = nncf.Dataset(list(samples()))
    quantized = nncf.quantize(traced, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=16)
    openvino.save_model(quantized, out)


if __name__ == "__main__":
    main()
