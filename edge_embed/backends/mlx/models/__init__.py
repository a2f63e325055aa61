"""One architecture, one file, found by `model_type` of config.json.

Each file has Config, read(config) -> Config from config.json's values, and Model(config), an `mlx.nn.Module` whose
parameters are called as the checkpoint calls them, with

- PREFIXES, what some checkpoints put before a name, and UNUSED, how the names of tensors begin that stay unread;
- FINER, how the names of the linear layers end that get more bits where others have 4;
- `vocab_size`, and `max_positions`, the longest text that has positions, None where there is no such limit;
- `__call__(ids, lengths, padded, pooling)`: ids int32 (batch, tokens), padded on the right if `padded`, lengths int32
  (batch,) -> hidden states: (batch, dim) of the row that the pooling needs, or (batch, tokens, dim). A language model
  that reads pictures takes `inserted` as well: input, place and rows (n, dim) of each picture;
- `causal`, if texts may have their beginning computed once: prefix(ids) gives what is called with as `past`.

One that takes pictures has a second part: read_image(config) and ImageModel, IMAGE_PREFIXES and image_unused(config)
in the place of PREFIXES and UNUSED, with

- `size`, (height, width) of the pixels;
- `__call__(pixels)`: (tiles, 3, height, width) -> vectors (tiles, dim), or where a language model reads them the
  patches' rows (tiles, patches, dim), and `image_newline` (dim,), which stands between lines of them.
"""

from __future__ import annotations

import importlib
import pkgutil
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_embed.errors import MissingDependencyError, UnsupportedModelError, listing

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


@dataclass(frozen=True)
class Part:
    """A part's model, its weights yet to be loaded, and how a checkpoint names them."""

    model: Any
    prefixes: tuple[str, ...]
    unused: tuple[str, ...]
    finer: tuple[str, ...] = ()

    def plain(self, name: str) -> str:
        """Return a tensor's name without what the checkpoint puts before it."""
        return name.removeprefix(next((prefix for prefix in self.prefixes if name.startswith(prefix)), ""))

    def reads(self, name: str) -> bool:
        """Whether a checkpoint's tensor belongs to this part; another part's, and heads, do not."""
        return not self.plain(name).startswith(self.unused)


def names() -> list[str]:
    """List the architectures that exist."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def architecture(model_type: str) -> Any:
    """Return the module of an architecture; raise UnsupportedModelError, listing what exists, when there is none."""
    if model_type not in names():
        raise UnsupportedModelError(
            f"model_type {model_type!r} is not implemented for MLX; {listing(names())} are. A new architecture is a "
            f"file edge_embed/backends/mlx/models/{model_type}.py"
        )
    return importlib.import_module(f".{model_type}", __name__)


def parts_of(model_type: str) -> list[str]:
    """List an architecture's parts."""
    return ["text", "image"] if hasattr(architecture(model_type), "ImageModel") else ["text"]


def build(model_type: str, config: Mapping[str, Any], part: str = "text") -> Part:
    """Build a part as config.json says; its parameters are lazy, so what is not loaded costs nothing.

    Raises UnsupportedModelError for a value that is not implemented, or for a part that the architecture lacks.
    """
    module = architecture(model_type)
    if part not in parts_of(model_type):
        raise UnsupportedModelError(f"architecture {model_type!r} has no {part} part")
    if part == "image":
        shape = module.read_image(config)
        return Part(module.ImageModel(shape), module.IMAGE_PREFIXES, module.image_unused(shape))
    return Part(module.Model(module.read(config)), module.PREFIXES, module.UNUSED, module.FINER)
