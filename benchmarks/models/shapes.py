"""Random weights at the sizes of v5-text-nano and -small, as a checkpoint of transformers and as our ONNX graphs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

SHAPES = ("nano", "small")


def write_checkpoint(shape: str, folder: Path) -> None:
    """Save random bfloat16 weights of the shape, with transformers."""
    import torch
    from transformers import EuroBertConfig, EuroBertModel, Qwen3Config, Qwen3Model

    rope = {"rope_type": "default"}
    torch.manual_seed(0)
    if shape == "nano":
        sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
        config = EuroBertConfig(vocab_size=128256, rope_parameters={**rope, "rope_theta": 1e6}, **sizes)
        model: Any = EuroBertModel(config)
    else:
        sizes = {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16}
        sizes |= {"num_key_value_heads": 8, "head_dim": 128}
        model = Qwen3Model(Qwen3Config(vocab_size=151936, rope_parameters={**rope, "rope_theta": 3.5e6}, **sizes))
    model.to(torch.bfloat16).save_pretrained(folder)


def write_graphs(
    checkpoint: Path, levels: list[str], out: Path, pooling: Literal["last", "mean"], portable: bool = False
) -> None:
    """Write a checkpoint as our graphs, one for each level, into out/onnx; `portable`: in standard operators too."""
    from edge_embed_convert.checkpoint.source import Tensors
    from edge_embed_convert.onnx.export import to_onnx

    config = json.loads((checkpoint / "config.json").read_text())
    tensors = Tensors([checkpoint / "model.safetensors"])
    for level in levels:
        to_onnx(config, tensors, level, out, pooling=pooling, portable=portable)


def write_dynamic(folder: Path) -> None:
    """Quantise folder/onnx/model.onnx as onnx/dynamic.onnx: int8 activations with one scale for the whole batch."""
    import edge_embed.backends.onnx.runtime  # noqa: F401  before ONNX Runtime's own modules, for its telemetry

    # isort: split
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        folder / "onnx" / "model.onnx",
        folder / "onnx" / "dynamic.onnx",
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
        extra_options={"DefaultTensorType": 1},  # float32; its shape inference does not know the fused operators
    )
