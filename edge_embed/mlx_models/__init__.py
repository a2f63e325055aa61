"""One architecture, one file, found by `model_type` of config.json.

Each file has Config, read(config) -> Config from config.json's values, and Model(config), an `mlx.nn.Module` whose
parameters are called as the checkpoint calls them, with

- PREFIXES, what some checkpoints put before every name, and UNUSED, how the names of tensors begin that stay unread;
- FINER, how the names of the linear layers end that get more bits where others have 4;
- `vocab_size`, and `max_positions`, the longest text that has positions, None where there is no such limit;
- `__call__(ids, lengths, padded, pooling)`: ids int32 (batch, tokens), padded on the right if `padded`, lengths int32
  (batch,) -> hidden states: (batch, dim) of the row that the pooling needs, or (batch, tokens, dim).
"""

from __future__ import annotations

import importlib
import pkgutil
import platform
from typing import Any

from ..errors import MissingDependencyError, UnsupportedModelError, listing

try:
    import mlx.core  # noqa: F401  # without its engine the package mlx itself is there, and this fails
except ImportError as error:
    COMMANDS = {
        "Darwin": "pip install 'edge-embed[mlx]'",
        "Linux": "pip install 'mlx[cpu]', or 'mlx[cuda]' for an NVIDIA GPU",
    }
    raise MissingDependencyError(
        f"backend 'mlx' needs MLX, which cannot be loaded here ({error}): "
        + COMMANDS.get(platform.system(), f"there is none for {platform.system()}, choose another backend")
    ) from error


def names() -> list[str]:
    """List the architectures that exist."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def architecture(model_type: str) -> Any:
    """Return the module of an architecture; raise UnsupportedModelError, listing what exists, when there is none."""
    if model_type not in names():
        raise UnsupportedModelError(
            f"model_type {model_type!r} is not implemented for MLX; {listing(names())} are. A new architecture is a "
            f"file edge_embed/mlx_models/{model_type}.py"
        )
    return importlib.import_module(f".{model_type}", __name__)
