"""What goes into our SentenceTransformer and comes out of it, in the other's kinds: texts, images, arrays, tensors."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_embed import vectors
from edge_embed.errors import InputError
from edge_embed.pipeline.tokenizer import TextTokenizer, Tokenizer
from edge_embed.spec.model import TEXT
from edge_embed.vectors import Precision

HERE = ("None", "cpu", "mps")  # where the engine computes is its own choice, and these are where it may


def check_device(device: Any) -> str:
    """Return the device's name; raise InputError for one that no engine here has."""
    name = str(device)
    if name not in HERE:
        raise InputError(f"device={name!r}: engines here compute on the CPU, MLX on Apple's GPU; leave it out")
    return "cpu" if device is None else name


def is_one(inputs: Any) -> bool:
    """Tell one text, dict or Pillow image from several."""
    return isinstance(inputs, str | Mapping) or _is_image(inputs)


def as_input(value: Any) -> Any:
    """Return one of the inputs as Embedder takes it: NumPy's strings as texts, Pillow's images as dicts."""
    if isinstance(value, np.str_):
        return str(value)
    return {"image": value} if _is_image(value) else value


def as_prefix(template: str) -> str:
    """Write a template as the prefix that it is; one with words after the text stays a template."""
    return template.removesuffix(TEXT) if template.count(TEXT) == 1 else template


def as_template(prefix: str) -> str:
    """Write a prefix as a template."""
    return prefix if TEXT in prefix else f"{prefix}{TEXT}"


def quantized(rows: Any, precision: Precision | None) -> Any:
    """Quantise rows (n, dim); bytes are scaled by the range of these rows, as the other does."""
    if not len(rows):
        return rows
    ranges = np.stack([rows.min(0), rows.max(0)]) if precision in ("int8", "uint8") else None
    return vectors.quantize(rows, precision or "float32", ranges=ranges)


def as_asked(found: Any, convert_to_numpy: bool, convert_to_tensor: bool) -> Any:
    """Return an array, a tensor, or a list of tensors; nothing has the shape (0,) there."""
    if convert_to_numpy and not convert_to_tensor:
        return found if found.size else np.array([])
    import torch

    whole = torch.as_tensor(found) if found.size else torch.tensor([])
    return whole if convert_to_tensor or (whole.ndim == 1 and found.size) else list(whole)


def maybe_tensor(found: Any) -> Any:
    """Return a tensor where the program has imported torch, else the array."""
    torch = sys.modules.get("torch")
    return found if torch is None else torch.as_tensor(found)


def as_array(given: Any) -> Any:
    """Return an array of an array, a tensor, or a list of either."""
    if isinstance(given, list | tuple):
        return np.stack([as_array(one) for one in given]) if len(given) and hasattr(given[0], "shape") else given
    return given.detach().cpu().numpy() if hasattr(given, "detach") else given


def as_transformers(tokenizer: Tokenizer, max_tokens: int) -> Any:
    """Return transformers' tokenizer, of a copy that it may change; raise InputError for a vocabulary in GGUF."""
    if not isinstance(tokenizer, TextTokenizer):
        raise InputError("this model's vocabulary is inside of its GGUF file, where transformers cannot read it")
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    copied = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    return PreTrainedTokenizerFast(tokenizer_object=copied, model_max_length=max_tokens)


def _is_image(value: Any) -> bool:
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)
