"""A model's Dense modules as llama.cpp's converter writes them (`--sentence-transformers-dense-modules`).

A file that holds them gives the model's vectors in llama-server. What llama.cpp does not compute stays beside the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from safetensors.numpy import load, save

from edge_embed.formats.gguf import Header
from edge_embed.formats.gguf_dense import NAMES
from edge_embed.pipeline.head import read_layer
from edge_embed.spec.dense import Dense
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File

from ..checkpoint.source import Array, Source
from .names import Entry, Value
from .tensors import dequantised

IDENTITY = "torch.nn.modules.linear.Identity"
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
    modules = {module.file.path: module for module in modules_of(source.spec).values()}
    made = {path: load(source.made[path])["linear.weight"] for path in modules if path in source.made}
    return {path: read_layer(source.folder / path, modules[path]).weight for path in modules if path not in made} | made


def importance(spec: ModelSpec) -> dict[str, Array]:
    """Let all inputs of their matrices count alike, since none were measured; llama.cpp wants some at low levels."""
    return {f"{name}.weight": np.ones(module.in_features, np.float32) for name, module in modules_of(spec).items()}


def restored(headers: Sequence[Header]) -> tuple[tuple[Dense, ...], dict[str, bytes]]:
    """Return the modules inside a model's files, and theirs as sentence-transformers keeps them, by name."""
    modules: list[Dense] = []
    made: dict[str, bytes] = {}
    for name in NAMES:
        header = next((one for one in headers if f"{name}.weight" in one.tensors), None)
        if header is None:
            continue
        weight = dequantised(header, f"{name}.weight")
        out, into = weight.shape
        place = f"{len(modules) + 2}_Dense"
        data = save({"linear.weight": weight}, {"format": "pt"})
        file = File(path=f"{place}/model.safetensors", sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        modules.append(Dense(file=file, in_features=into, out_features=out, bias=False, activation="identity"))
        config = {"in_features": into, "out_features": out, "bias": False, "activation_function": IDENTITY}
        made |= {file.path: data, f"{place}/config.json": json.dumps(config).encode()}
    return tuple(modules), made
