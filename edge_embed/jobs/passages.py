"""Long texts -> passages of at most so many tokens, as places in the text; neighbours may overlap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.pipeline.options import find_templates
from edge_embed.pipeline.token_offsets import token_offsets
from edge_embed.pipeline.tokenizer import TextTokenizer

from .settings import Settings


class Passages:
    """Cut texts by a model's tokens, between words where one ends in the last half of a passage."""

    def __init__(self, model: Embedder, settings: Settings) -> None:
        tokenizer = model._opened.pipeline.tokenizer
        if not isinstance(tokenizer, TextTokenizer):
            raise InputError(f"{model.spec.name} has no tokenizer.json, which chunk_tokens needs: leave it out")
        template = find_templates(model.spec, settings.prompt_name, settings.prompt, settings.side).text
        around = len(tokenizer.tokenize(["a"], template).ids[0]) - 1
        assert settings.chunk_tokens is not None
        if settings.chunk_tokens + around > model.spec.max_tokens:
            raise InputError(
                f"chunk_tokens={settings.chunk_tokens}: {model.spec.name} takes {model.spec.max_tokens} tokens, of "
                f"which the prompt and its own take {around}: ask for {max(1, model.spec.max_tokens - around)} or less"
            )
        self._tokenizer, self._size, self._overlap = tokenizer, settings.chunk_tokens, settings.overlap

    def places(self, text: str) -> list[tuple[int, int]]:
        """Return (start, stop) of each passage, in characters; an empty text is one passage."""
        spans = token_offsets(self._tokenizer, text)
        if len(spans) <= self._size:
            return [(0, len(text))]
        return [*self._cut(text, spans)]

    def _cut(self, text: str, spans: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        first = 0
        while True:
            last = min(first + self._size, len(spans))
            if last < len(spans):
                last = self._between_words(text, spans, first, last)
            yield int(spans[first, 0]), int(spans[last - 1, 1])
            if last == len(spans):
                return
            first = max(first + 1, last - self._overlap)

    def _between_words(self, text: str, spans: NDArray[np.int64], first: int, last: int) -> int:
        for end in range(last, first + max(1, (last - first) // 2), -1):
            gap = text[int(spans[end - 1, 1]) : int(spans[end, 0]) + 1]
            if gap[:1].isspace():
                return end
        return last
