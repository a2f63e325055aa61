"""A vocabulary that only encodes: the ids, cuts and counts of `tokenizer.json`, whatever the template."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from edge_embed import InputError
from edge_embed.pipeline.tokenizer import PIECE, TextTokenizer, Truncation
from edge_embed.pipeline.vocabulary import VocabularyTokenizer

from support import tiny
from support.vocabularies import LibraryVocabulary

TEMPLATES = ["{text}", "query: {text}", "{text} .", "ask: {text} now!"]
TEXTS = [
    "",
    "x",
    "one two three",
    "a b c d e f g h i j k l m n o p q r s t",
    "query: query: query: .",
    "now! now! now! now!",
]


def byte_level() -> Tokenizer:
    """Build a byte-level BPE without merges but for a few words, and a closing token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("\u0120", "t"), ("\u0120t", "w"), ("\u0120tw", "o")]
    words = [*letters, *(a + b for a, b in merges), "<end>"]
    made = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<end>"])
    made.post_processor = processors.TemplateProcessing(
        single="$A <end>", special_tokens=[("<end>", words.index("<end>"))]
    )
    return made


@pytest.fixture(params=["words", "bytes"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Tokenizer]:
    """Return a tokenizer.json and the same tokenizer as llama.cpp would be: text in, ids out."""
    made = tiny.tokenizer() if request.param == "words" else byte_level()
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json", made


@pytest.mark.parametrize("truncation", ["end", "start", "middle"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_same_as_tokenizer_json(pair: tuple[Path, Tokenizer], template: str, truncation: Truncation) -> None:
    path, made = pair
    for limit in (16, 24, 500):
        expected = TextTokenizer(path, limit).tokenize(TEXTS, template, truncation)
        found = VocabularyTokenizer(LibraryVocabulary(made), limit).tokenize(TEXTS, template, truncation)
        assert [row.tolist() for row in found.ids] == [row.tolist() for row in expected.ids]
        assert found.counts == expected.counts
        assert all(len(row) <= limit for row in found.ids)


@pytest.mark.parametrize("truncation", ["end", "start", "middle"])
def test_long_texts_go_piece_by_piece(pair: tuple[Path, Tokenizer], truncation: Truncation) -> None:
    path, made = pair
    vocabulary = LibraryVocabulary(made)
    text = " ".join(f"word{n}" for n in range(30_000))
    assert len(text) > 4 * PIECE
    expected = TextTokenizer(path, 64).tokenize([text], "query: {text} !", truncation)
    start = time.perf_counter()
    found = VocabularyTokenizer(vocabulary, 64).tokenize([text], "query: {text} !", truncation)
    assert time.perf_counter() - start < 20, "measured: 0.5 s"
    assert vocabulary.longest <= PIECE + 20
    assert found.ids[0].tolist() == expected.ids[0].tolist()
    assert found.counts == expected.counts


def test_what_does_not_fit(pair: tuple[Path, Tokenizer]) -> None:
    words = VocabularyTokenizer(LibraryVocabulary(pair[1]), 12)
    with pytest.raises(InputError, match=r"input 7 has \d+ tokens, the limit is 12: shorten it, or pass truncation="):
        words.tokenize(["a", "b c d e f g h i j k l m n o"], truncation="error", first=6)
    with pytest.raises(InputError, match=r"the prompt 'a long prompt, much too long: \{text\}' alone takes \d+ of 12"):
        words.tokenize(["a"], "a long prompt, much too long: {text}")
