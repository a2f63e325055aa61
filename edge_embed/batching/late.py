"""Late chunking: texts are read as one, so that each is pooled over tokens that have seen the others.

Günther et al. 2024, "Late Chunking: Contextual Chunk Embeddings Using Long-Context Embedding Models".
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_embed.errors import InputError
from edge_embed.pipeline.bare_tokenizer import BareTokenizer
from edge_embed.pipeline.pipeline import Pipeline
from edge_embed.pipeline.rows import TextRow
from edge_embed.pipeline.texts import check_texts
from edge_embed.pipeline.tokenizer import TextTokenizer, TokenCount


def late_tokenizer(pipeline: Pipeline) -> TextTokenizer:
    """Return the tokenizer of a model that late chunking is for; raise InputError for another model."""
    spec, tokenizer = pipeline.spec, pipeline.tokenizer
    if spec.pooling != "mean":
        raise InputError(
            f"late chunking needs mean pooling, {spec.name} has pooling {spec.pooling!r}: encode each text by itself"
        )
    if isinstance(tokenizer, BareTokenizer):
        raise InputError(f"late chunking is of no use with {spec.name}: a token has the same vector in every text")
    if not isinstance(tokenizer, TextTokenizer):
        raise InputError(f"late chunking needs a tokenizer.json, which {spec.name} has not")
    return tokenizer


def late_row(pipeline: Pipeline, texts: Sequence[str], template: str) -> tuple[TextRow, list[TokenCount]]:
    """Return one row with a span for each text, and how many tokens each has.

    A text that does not begin or end with a blank is parted from its neighbour by one. Raises InputError for a model
    that pools one token, and for texts that are too long together, or of which one has no token of its own.
    """
    spec, tokenizer = pipeline.spec, late_tokenizer(pipeline)
    pieces: list[str] = []
    places, at = [], 0
    for text in check_texts(texts):
        gap = " " if pieces and not (pieces[-1][-1:].isspace() or text[:1].isspace()) else ""
        places.append((at + len(gap), at + len(gap) + len(text)))
        pieces.append(gap + text)
        at += len(gap) + len(text)
    ids, spans = tokenizer.spans("".join(pieces), template, places)
    if len(ids) > spec.max_tokens:
        raise InputError(f"the {len(texts)} texts have {len(ids)} tokens together, {spec.name} takes {spec.max_tokens}")
    if empty := [n for n, (start, stop) in enumerate(spans) if start == stop]:
        raise InputError(f"input {empty[0]} has no token of its own: leave it out of late chunking")
    return TextRow(ids, 0, spans=spans), [TokenCount(stop - start, 0) for start, stop in spans]
