"""The graph in standard operators that may lie beside one of ours: its rows and its own vectors, against float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends.onnx.names import POOLED
from edge_embed.backends.onnx.session import open_session
from edge_embed.layouts.folder import TOKENIZER
from edge_embed.pipeline.filled import text_tokenizer
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Weights
from edge_embed.vectors import normalize

from ..export import Bound
from .probes import LONGEST, probes
from .verify import THREADS, Vectors, embed

TOGETHER = 8  # texts in a batch: padding is part of what is verified


def portable_shortfall(folder: Path, spec: ModelSpec, weights: Weights, reference: Vectors, bound: Bound) -> str | None:
    """Say in what a graph in standard operators falls short, if weights have one."""
    for file in (file for file in weights.files[1:] if file.path.endswith(".onnx")):
        for found, rows in _vectors(folder, spec, weights, file):
            cosines = (found * reference[rows]).sum(axis=1)
            if not bound.holds(cosines):
                return (
                    f"{file.path}, in standard operators, has a cosine to float32 of {cosines.mean():.5f} in the mean "
                    f"and {cosines.min():.5f} at least (bounds {bound.mean} and {bound.least})"
                )
    return None


def _vectors(
    folder: Path, spec: ModelSpec, weights: Weights, file: File
) -> Iterator[tuple[Vectors, slice | NDArray[np.intp]]]:
    """Embed the probes as our engine reads the graph, then, where it gives them, take its own vectors; and of which."""
    yield embed(folder, spec, replace(weights, files=(file,)), file=file.path)[1], slice(None)
    session: Any = open_session(folder / file.path, THREADS)
    if POOLED[0] in (output.name for output in session.get_outputs()):
        longest = min(spec.max_tokens, LONGEST)
        words = text_tokenizer(folder / TOKENIZER, spec).limited(longest)
        texts = words.tokenize(probes(longest), spec.template(None, None)).ids
        some = np.array([n for n, ids in enumerate(texts) if len(ids)])
        parts = (some[start : start + TOGETHER] for start in range(0, len(some), TOGETHER))
        yield normalize(np.concatenate([_run(session, [texts[n] for n in part]) for part in parts])), some


def _run(session: Any, texts: Sequence[NDArray[np.int32]]) -> Vectors:
    """Return a graph's own vectors (texts, dim), padded to the right."""
    ids = np.zeros((len(texts), max(map(len, texts))), np.int64)
    mask = np.zeros_like(ids)
    for line, text in enumerate(texts):
        ids[line, : len(text)], mask[line, : len(text)] = text, 1
    known = {"input_ids": ids, "attention_mask": mask}
    feeds = {node.name: known.get(node.name, np.zeros_like(ids)) for node in session.get_inputs()}
    vectors: Vectors = session.run([POOLED[0]], feeds)[0]
    return vectors
