"""A model's Dense modules as llama.cpp's converter writes them (`--sentence-transformers-dense-modules`).

A file that holds them gives the model's vectors in llama-server. What llama.cpp does not compute stays beside the file.
"""

from __future__ import annotations

import numpy as np

from edge_embed.formats.gguf_dense import NAMES
from edge_embed.pipeline.head import read_layer
from edge_embed.spec.dense import Dense
from edge_embed.spec.model import ModelSpec

from ..checkpoint.source import Array, Source
from .names import Entry, Value

POOLINGS = ("mean", "first", "last")  # which llama.cpp computes


def modules_of(spec: ModelSpec) -> dict[str, Dense]:
    """Return the modules by llama.cpp's names; none of them if it cannot compute all."""
    modules = spec.dense if spec.include_prompt and spec.pooling in POOLINGS else ()
    plain = all(module.activation == "identity" and not module.bias for module in modules)
    fits = plain and 0 < len(modules) <= len(NAMES) and modules[-1].out_features == spec.width
    return dict(zip(NAMES, modules, strict=False)) if fits else {}


def metadata(spec: ModelSpec) -> dict[str, Value]:
    """Return their keys, without the architecture's name."""
    keys: dict[str, Value] = {}
    for name, module in modules_of(spec).items():
        keys |= {f"{name}_feat_in": module.in_features, f"{name}_feat_out": module.out_features}
    return keys


def entries(spec: ModelSpec) -> list[Entry]:
    """List their tensors; the source of each is the module's own file."""
    return [
        Entry(f"{name}.weight", module.file.path, (module.out_features, module.in_features))
        for name, module in modules_of(spec).items()
    ]


def weights(source: Source) -> dict[str, Array]:
    """Read their weights, by the module's file."""
    modules = modules_of(source.spec).values()
    return {module.file.path: read_layer(source.folder / module.file.path, module).weight for module in modules}


def importance(spec: ModelSpec) -> dict[str, Array]:
    """Let all inputs of their matrices count alike, since none were measured; llama.cpp wants some at low levels."""
    return {f"{name}.weight": np.ones(module.in_features, np.float32) for name, module in modules_of(spec).items()}
