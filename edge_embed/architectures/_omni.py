"""jina-embeddings-v5-omni (arXiv 2605.08384): v5-text's model, unchanged, beside towers for pictures and sound.

The model of texts alone is read, so that a text's vector is v5-text's. `task_token_embeddings` are rows that each task
has of its own for tokens that stand for pictures and sound; they stay unread as the towers do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing

from ._checks import section

# Of a base with adapters, and of one merged for a task: nano's and small's.
TYPES = ("jina_embeddings_v5_omni", "llava_eurobert_audio", "qwen3vl_audio")
PREFIX = "language_model."
UNREAD = (
    *("audio_projector", "audio_tower", "lm_head", "merger", "multi_modal_projector", "task_token_embeddings"),
    *("vision_tower", "visual"),
)
TIED = "tie_word_embeddings"  # which the whole may state for its part


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the model of texts as a checkpoint of it alone would have it; another's config as it is."""
    if config.get("model_type") not in TYPES:
        return dict(config)
    own = section(config, "text_config")
    if not own:
        raise CorruptModelError(f"config.json of {config['model_type']!r} lacks 'text_config', the model of texts")
    return {TIED: bool(config.get(TIED)), **own, "model_type": config["model_type"]}


def text_tensors(model_type: str, names: Iterable[str]) -> dict[str, str]:
    """Map the names that tensors of texts have in a checkpoint of them alone to what they are called beside towers.

    Raises UnsupportedModelError for a tensor of neither texts, pictures nor sound.
    """
    known = [*names]
    if odd := [name for name in known if not name.startswith((PREFIX, *UNREAD))]:
        raise UnsupportedModelError(f"{len(odd)} tensors have no place in {model_type!r}: {listing(odd[:5])}")
    return {name.removeprefix(PREFIX): name for name in known if name.startswith(PREFIX)}
