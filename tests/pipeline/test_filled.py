"""Texts that are filled up to one length, and read in lower case, as a spec says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_embed import UnsupportedModelError
from edge_embed.pipeline.filled import FilledTokenizer, text_tokenizer
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.fill import Fill

from support import letters
from support.fake import SPEC

PAD = letters.WORDS.index("[PAD]")
FILLED = replace(SPEC, max_tokens=6, fill=Fill(token="[PAD]", length=8))


def test_texts_are_filled_up_and_counted_as_they_were(tiny_tokenizer: Path) -> None:
    plain = TextTokenizer(tiny_tokenizer, 6).tokenize(["a b", "a b c d e f"])
    filled = text_tokenizer(tiny_tokenizer, FILLED).tokenize(["a b", "a b c d e f"])
    assert filled.counts == plain.counts
    for ids, before in zip(filled.ids, plain.ids, strict=True):
        assert ids.tolist() == [*before.tolist(), *[PAD] * (8 - len(before))]
    assert len(text_tokenizer(tiny_tokenizer, FILLED).limited(3).tokenize(["a b"]).ids[0]) == 8


def test_a_text_that_spells_what_fills_it_up(tmp_path: Path) -> None:
    """Read as text, it is letters, and the token still fills up."""
    made, path = letters.tokenizer(), tmp_path / "tokenizer.json"
    made.add_special_tokens(["[PAD]"])
    made.save(str(path))
    as_token, as_text = (text_tokenizer(path, FILLED, how) for how in ("tokens", "text"))  # type: ignore[arg-type]
    assert as_text.tokenize(["a"]).ids[0].tolist() == as_token.tokenize(["a"]).ids[0].tolist()
    assert PAD not in as_text.tokenize(["[PAD]"]).ids[0][:5].tolist()
    assert as_text.tokenize(["[PAD]"]).ids[0][-2:].tolist() == [PAD, PAD]


def test_what_is_no_token_cannot_fill_up(tiny_tokenizer: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="has no token '<a>b', which is to fill texts up"):
        FilledTokenizer(tiny_tokenizer, 6, fill=Fill(token="<a>b", length=8))


def test_lower_case(tmp_path: Path) -> None:
    """Whether a tokenizer.json has steps of its own, or none."""
    for normalizer in (letters.tokenizer().normalizer, None):
        made = letters.tokenizer()
        made.normalizer = normalizer
        made.save(str(tmp_path / "tokenizer.json"))
        lowered = text_tokenizer(tmp_path / "tokenizer.json", replace(SPEC, lower_case=True))
        assert lowered.tokenize(["A Bc"]).ids[0].tolist() == lowered.tokenize(["a bc"]).ids[0].tolist()
        assert letters.WORDS.index("[UNK]") not in lowered.tokenize(["A Bc"]).ids[0]
