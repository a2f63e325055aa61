"""Dense modules in a folder of sentence-transformers -> `Dense`, from their config.json; weights are not read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.spec.dense import Activation, Dense
from edge_embed.spec.values import shown, whole
from edge_embed.spec.weights import File

from .listing import Listing

logger = logging.getLogger(__name__)
WEIGHTS, PICKLED = "model.safetensors", "pytorch_model.bin"
MODULE = "torch.nn.modules.activation."
ACTIVATIONS: dict[str, Activation] = {
    "torch.nn.modules.linear.Identity": "identity",
    f"{MODULE}Tanh": "tanh",
    f"{MODULE}ReLU": "relu",
    f"{MODULE}Sigmoid": "sigmoid",
    f"{MODULE}GELU": "gelu",
    f"{MODULE}SiLU": "silu",
}
SIZES = {"in_features", "out_features", "bias", "activation_function"}
# What changes numbers, and the values with which it changes none.
OTHERS: dict[str, tuple[object, ...]] = {
    "module_input_name": ("sentence_embedding",),
    "module_output_name": ("sentence_embedding", None),
    "use_residual": (False, None),
}


@cache
def tell_of_none(path: Path) -> None:
    """Warn, once, of what may be EmbeddingGemma without that which makes its vectors: a GGUF file, or a folder."""
    logger.warning(
        "%s holds no Dense modules: if it is of EmbeddingGemma, which has two, its vectors are other ones. Put "
        "config.json, modules.json and the modules' folders of the original model there, or make GGUF again with "
        "llama.cpp's --sentence-transformers-dense-modules",
        path,
    )


def read_dense(folder: Path, places: Sequence[str], width: int) -> tuple[Dense, ...]:
    """Read the modules in these places of a folder, in their order; what is pooled has `width` numbers.

    Raises UnsupportedModelError for a value that is not implemented, CorruptModelError for modules that do not fit.
    """
    found: list[Dense] = []
    for place in places:
        path = folder / place / "config.json"
        module = _read(place, path)
        before = found[-1].out_features if found else width
        if module.in_features != before:
            raise CorruptModelError(
                f"{path}: in_features={module.in_features}, what comes before gives {before} numbers"
            )
        found.append(module)
    return tuple(found)


def _read(place: str, path: Path) -> Dense:
    values = read_object(path)
    if unknown := values.keys() - SIZES - OTHERS.keys():
        raise UnsupportedModelError(f"{path}: {listing(unknown)} of a Dense module is not implemented")
    for key, known in OTHERS.items():
        if key in values and values[key] not in known:
            raise UnsupportedModelError(f"{path}: {key}={shown(values[key])} of a Dense module is not implemented")
    return Dense(
        file=File(path=f"{place}/{WEIGHTS}"),
        in_features=whole(values, "in_features", path),
        out_features=whole(values, "out_features", path),
        bias=_flag(values, path),
        activation=_activation(values, path),
    )


def _flag(values: dict[str, Any], path: Path) -> bool:
    value = values.get("bias", True)
    if not isinstance(value, bool):
        raise CorruptModelError(f"{path}: bias={shown(value)} is not true or false")
    return value


def _activation(values: dict[str, Any], path: Path) -> Activation:
    name = values.get("activation_function", f"{MODULE}Tanh")  # sentence-transformers' default
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise UnsupportedModelError(
            f"{path}: activation_function={shown(name)} is not implemented; {listing(ACTIVATIONS)} are"
        )
    return ACTIVATIONS[name]


def check_dense(modules: Sequence[Dense], files: Listing) -> None:
    """Refuse modules whose weights are not in the folder, or lie there as a pickle alone, or have another size."""
    for path, size in ((one.file.path, one.file.size) for one in modules):
        check_there(path, files, "the weights of a Dense module without which its vectors are other ones")
        if None not in (size, files.sizes[path]) and files.sizes[path] != size:
            raise CorruptModelError(
                f"{files.folder / path} has {files.sizes[path]} bytes, {size} are expected: copy it again"
            )


def check_there(path: str, files: Listing, what: str) -> None:
    """Refuse a folder that lacks a module's weights, or has them as a pickle alone."""
    pickle = path.removesuffix(WEIGHTS) + PICKLED
    if path not in files and pickle in files:
        raise UnsupportedModelError(
            f"{files.folder / pickle} is a pickle, which can run code of its own when it is opened: save the model "
            f"again with sentence-transformers, which then writes {path}"
        )
    if path not in files:
        raise CorruptModelError(f"{files.folder} lacks {path}, {what}: copy it beside the model")
