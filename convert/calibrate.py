"""Texts -> what flows into every linear layer: per input channel the second moment and the largest magnitude.

Measured with our own float32 graph on whole prompted texts with their closing token, one text at a time: a pooled
vector depends on just that token, which a stream of concatenated text hardly ever shows. In a last layer that is
computed for one row, only that row counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends.onnx.runtime import ort
from edge_embed.errors import InputError
from edge_embed.pipeline.filled import text_tokenizer
from edge_embed.progress import progress
from edge_embed.spec.model import TEXT, ModelSpec, Pooling

from .checkpoint.moments import LONGEST, Moments
from .checkpoint.source import Array
from .onnx.file import write_graph

TEXTS = Path(__file__).with_name("calibration.txt")


def read_texts(path: Path | None = None) -> list[str]:
    """Read calibration texts, one a line; raise InputError when there are none. The default is in many languages."""
    path = path or TEXTS
    try:
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read calibration texts from {path}: {error}") from error
    if not lines:
        raise InputError(f"{path} holds no calibration texts: give one a line")
    return lines


def calibrate(
    config: Mapping[str, Any], tensors: Mapping[str, Array], spec: ModelSpec, tokenizer: Path, texts: Iterable[str]
) -> dict[str, Moments]:
    """Run the texts, each with every prompt that the spec's tasks use -> moments by the linear layer's name."""
    words = text_tokenizer(tokenizer, spec).limited(min(spec.max_tokens, LONGEST))
    rows = [row for template in _templates(spec) for row in words.tokenize(list(texts), template).ids]
    with progress("calibrating", len(rows), "texts") as step:
        return measure(config, tensors, spec.pooled_rows, rows, step)


def measure(
    config: Mapping[str, Any],
    tensors: Mapping[str, Array],
    pooling: Pooling,
    rows: Iterable[NDArray[np.int32]],
    done: Callable[[], object] = lambda: None,
) -> dict[str, Moments]:
    """Run rows of token ids, one at a time, calling `done` for each -> moments by the linear layer's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        linears = write_graph(config, tensors, "float32", path, pooling, taps=True)
        session: Any = ort.InferenceSession(str(path), _options(), providers=["CPUExecutionProvider"])
        seen: dict[str, Moments] = {}
        for row in rows:
            feeds = {"input_ids": row[None].astype(np.int64), "attention_mask": np.ones((1, len(row)), np.int64)}
            names = [f"{x}.{part}" for x in sorted(set(linears.values())) for part in ("sum", "peak", "rows")]
            values: dict[str, NDArray[Any]] = dict(zip(names, session.run(names, feeds), strict=True))
            for x in set(linears.values()):
                count = int(values[f"{x}.rows"].prod())
                square = (values[f"{x}.sum"] / count).astype(np.float32)
                new = Moments(square, values[f"{x}.peak"], count)
                seen[x] = _combine(seen[x], new) if x in seen else new
            done()
    return {name: seen[x] for name, x in linears.items()}


def _templates(spec: ModelSpec) -> list[str]:
    used = {spec.template(None, None, "query"), spec.template(None, None, "document")}
    return sorted(used) or [TEXT]


def _combine(a: Moments, b: Moments) -> Moments:
    count = a.count + b.count
    square: Array = a.square * np.float32(a.count / count)
    square += b.square * np.float32(b.count / count)
    peak: Array = np.maximum(a.peak, b.peak)
    return Moments(square, peak, count)


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_pattern = False
    return options
