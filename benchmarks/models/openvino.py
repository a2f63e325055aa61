"""The OpenVINO int8 model that speed.shapes compares with, as optimum-intel's static quantisation makes it.

    python -m benchmarks speed.shapes nano --keep FOLDER --rounds 1     leaves the random checkpoint there
    python -m benchmarks models.openvino FOLDER OUT.xml                 needs torch, transformers, openvino, nncf

Activations are calibrated on random ids: good for speed, not for quality.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Report


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, help="a checkpoint that transformers loads")
    parser.add_argument("out", type=Path, help="the .xml file to write; its weights go beside it")


def run(args: argparse.Namespace) -> Report:
    """Trace, quantise, save."""
    import nncf
    import openvino

    traced = trace(args.folder)
    data = nncf.Dataset(list(samples()))
    quantized = nncf.quantize(traced, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=16)
    openvino.save_model(quantized, str(args.out))
    return Report([f"{args.out} is written"], {"path": str(args.out)})


def trace(folder: Path) -> Any:
    """Turn the model with its last-token pooling into OpenVINO's graph."""
    import openvino
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    model.config.use_cache = False

    class LastToken(torch.nn.Module):  # type: ignore[misc]  # PyTorch's types are not read
        """The model with its pooling: the last real token's hidden state of each text."""

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return hidden[torch.arange(hidden.shape[0]), attention_mask.sum(1) - 1]

    module = LastToken()
    module.model = model  # a part of the module, so that tracing sees its weights
    ids = torch.randint(4, 16000, (2, 32))
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0
    with torch.inference_mode():
        return openvino.convert_model(module, example_input={"input_ids": ids, "attention_mask": mask})


def samples() -> Iterator[dict[str, Any]]:
    """Yield texts of random ids."""
    rng = np.random.default_rng(0)
    for _ in range(16):
        ids = rng.integers(4, 16000, (1, int(rng.integers(8, 128))))
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}
