"""The tokenizer that a model's spec asks for; and tokens of models that read what fills a text up, such as SigLIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_embed.errors import UnsupportedModelError
from edge_embed.spec.fill import Fill
from edge_embed.spec.model import TEXT, ModelSpec

from .special_tokens import SpecialTokens
from .tokenizer import Ids, TextTokenizer, Tokenized, Truncation


class FilledTokenizer(TextTokenizer):
    """A tokenizer whose texts all have one length; what fills them up counts among no text's tokens."""

    def __init__(
        self,
        path: Path,
        max_tokens: int,
        special_tokens: SpecialTokens = "tokens",
        *,
        fill: Fill,
        lower_case: bool = False,
    ) -> None:
        super().__init__(path, max_tokens, special_tokens, lower_case=lower_case)
        filler = self._tokenizer.id_of(self._spell(fill.token))
        if filler is None:
            raise UnsupportedModelError(f"{path} has no token {fill.token!r}, which is to fill texts up")
        self._filler, self._length = filler, fill.length

    def tokenize(
        self, texts: Sequence[str], template: str = TEXT, truncation: Truncation = "end", first: int = 0
    ) -> Tokenized:
        """Tokenise as `TextTokenizer` does, and fill up."""
        found = super().tokenize(texts, template, truncation, first)
        return replace(found, ids=[self.fill(ids) for ids in found.ids])

    def fill(self, ids: Ids) -> Ids:
        """Fill a text's ids up."""
        return np.pad(ids, (0, self._length - len(ids)), constant_values=self._filler)


def text_tokenizer(
    path: Path, spec: ModelSpec, special_tokens: SpecialTokens = "tokens", cache: Path | None = None
) -> TextTokenizer:
    """Open a tokenizer.json as a spec says that its model reads texts; see `TextTokenizer` for the cache."""
    if spec.fill is None:
        return TextTokenizer(path, spec.max_tokens, special_tokens, lower_case=spec.lower_case, cache=cache)
    return FilledTokenizer(path, spec.max_tokens, special_tokens, fill=spec.fill, lower_case=spec.lower_case)
