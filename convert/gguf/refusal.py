"""What llama.cpp's tokenizers cannot do, said in one way."""

from __future__ import annotations

from typing import NoReturn

from edge_embed.errors import UnsupportedModelError


def refuse(what: str, instead: str) -> NoReturn:
    """Raise UnsupportedModelError for a part of tokenizer.json, with what llama.cpp knows in its place."""
    raise UnsupportedModelError(
        f"tokenizer.json: {what} has no equal in llama.cpp, which knows {instead}: convert to ONNX or MLX instead"
    )
