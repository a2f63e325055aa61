"""Models that sentence-transformers has beside those that embed: told by their files, and refused by what they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edge_embed.errors import UnsupportedModelError

SCORES = "ForSequenceClassification"  # how the class of a model ends that scores pairs of texts


def check_embeds(path: Path, config: Mapping[str, Any], modules: Iterable[str] | None) -> None:
    """Refuse a folder whose model gives a score of two texts, or weights of words, in the place of a vector.

    `modules` are the classes of modules.json, None where there is none and nothing else says how to pool: then a class
    for classification in config.json is a cross-encoder's.
    """
    classes = config.get("architectures")
    if any(".sparse_encoder." in kind for kind in modules or ()):
        raise UnsupportedModelError(
            f"{path} is a sparse encoder (SPLADE), which gives a weight to each word and no dense vector: open it by "
            "sentence-transformers' SparseEncoder, or take an embedding model, such as BAAI/bge-small-en-v1.5"
        )
    scores = modules is None and isinstance(classes, list) and any(str(one).endswith(SCORES) for one in classes)
    if scores or any(".cross_encoder." in kind for kind in modules or ()):
        raise UnsupportedModelError(
            f"{path} is a cross-encoder, which scores pairs of texts and has no vector of one: rerank by "
            "sentence-transformers' CrossEncoder, and embed by a model that pools, such as BAAI/bge-small-en-v1.5. If "
            'it does embed, say how: pooling="mean", "first" or "last"'
        )
