"""What spells a special token in a text: a token as in sentence-transformers, or text, as transformers splits it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from edge_embed import CorruptModelError, Embedder, InputError
from edge_embed.pipeline.special_tokens import SpecialTokens
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.pipeline.vocabulary import VocabularyTokenizer

from support import tiny
from support.vocabularies import LibraryVocabulary

TEXTS = ["a b", "a [PAD][SEP] b", "[CLS]", "[SEP] x", "<s>a</s>b", "x<|end|>y <|end|>", "[[PAD]]", "é </s>\n"]


def word_piece() -> Tokenizer:
    made = tiny.tokenizer()
    made.add_special_tokens(["[PAD]", "[SEP]", "[CLS]"])
    return made


def unigram() -> Tokenizer:
    """Build a Unigram vocabulary whose own pieces spell its special tokens, as XLM-R's do."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(letter, -9.0) for letter in "\u2581<>/[]|PADabcdefghijklmnopqrstuvwxyz"]
    made = Tokenizer(models.Unigram(pieces, unk_id=3))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return made


def byte_level() -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("<", "|"), ("<|", "e"), ("|", ">"), ("\u0120", "x")]
    words = [*letters, *(a + b for a, b in merges), "<|end|>"]
    made = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<|end|>"])
    made.add_tokens([AddedToken("[[PAD]]", special=False)])
    made.post_processor = processors.TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", words.index("<|end|>"))]
    )
    return made


@pytest.fixture(params=[word_piece, unigram, byte_level])
def made(request: pytest.FixtureRequest) -> Tokenizer:
    return request.param()


def opened(made: Tokenizer, folder: Path, mode: SpecialTokens, limit: int = 5000) -> TextTokenizer:
    made.save(str(folder / "tokenizer.json"))
    return TextTokenizer(folder / "tokenizer.json", limit, mode)


def test_tokens_are_the_default(made: Tokenizer, tmp_path: Path) -> None:
    made.save(str(tmp_path / "tokenizer.json"))
    found = TextTokenizer(tmp_path / "tokenizer.json", 5000).tokenize(TEXTS)
    assert [row.tolist() for row in found.ids] == [made.encode(text).ids for text in TEXTS]


def test_text_is_what_transformers_splits(made: Tokenizer, tmp_path: Path) -> None:
    found = opened(made, tmp_path, "text").tokenize(TEXTS)
    special = {n for n, token in made.get_added_tokens_decoder().items() if token.special}
    around = made.encode("").ids
    for row, text in zip(found.ids, TEXTS, strict=True):
        content = [one for one in row.tolist() if one in special]
        assert [one for one in content if one in around] == around, text
    reference = PreTrainedTokenizerFast(tokenizer_object=made)
    if not isinstance(made.model, models.Unigram):  # which spells </s> with its own piece for </s>
        expected = [reference(text, split_special_tokens=True).input_ids for text in TEXTS]
        assert [row.tolist() for row in found.ids] == expected


@pytest.mark.parametrize("template", ["[CLS] q: {text} [SEP] a", "<|end|>{text}<|end|>x", "<s>a {text}", "{text}</s>"])
def test_the_prompts_own_tokens_remain(made: Tokenizer, tmp_path: Path, template: str) -> None:
    plain, text = opened(made, tmp_path, "tokens"), opened(made, tmp_path, "text")
    harmless, typed = ["a b", ""], "[PAD]</s><|end|>"
    for one, other in zip(plain.tokenize(harmless, template).ids, text.tokenize(harmless, template).ids, strict=True):
        assert one.tolist() == other.tolist()
    assert plain.prefix(template).tolist() == text.prefix(template).tolist()
    special = [n for n, token in made.get_added_tokens_decoder().items() if token.special]
    (expected,), (found,) = plain.tokenize(["a"], template).ids, text.tokenize([typed], template).ids
    assert [n for n in found if n in special] == [n for n in expected if n in special]


@pytest.mark.parametrize("template", ["{text}", "[SEP] q {text} [SEP]", "<|end|>q {text}x<|end|>"])
def test_a_vocabulary_that_only_encodes_agrees(tmp_path: Path, template: str) -> None:
    for made in (word_piece(), byte_level()):
        expected = opened(made, tmp_path, "text", 40).tokenize(TEXTS, template)
        found = VocabularyTokenizer(LibraryVocabulary(made), 40, "text").tokenize(TEXTS, template)
        assert [row.tolist() for row in found.ids] == [row.tolist() for row in expected.ids]
        assert found.counts == expected.counts


@pytest.mark.parametrize("own", [False, True])
def test_in_a_long_text_too(made: Tokenizer, tmp_path: Path, own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tokenizer", "vocabulary"):
        monkeypatch.setattr(f"edge_embed.pipeline.{module}.PIECE", 128)
    text = "[PAD] </s> <|end|> " * 40
    library = opened(made, tmp_path, "text", 64)
    tokenizer = VocabularyTokenizer(LibraryVocabulary(made), 64, "text") if own else library
    if own and isinstance(made.model, models.Unigram):
        return  # llama.cpp's Unigram knows no piece for a control token
    special = [n for n, token in made.get_added_tokens_decoder().items() if token.special]
    for truncation in ("end", "start", "middle"):
        (ids,) = tokenizer.tokenize([text], "{text}", truncation).ids  # type: ignore[arg-type]
        assert len(ids) == 64
        assert [n for n in ids if n in special] == made.encode("").ids


def test_a_limited_tokenizer_reads_alike(tmp_path: Path) -> None:
    made = word_piece()
    for tokenizer in (
        opened(made, tmp_path, "text").limited(9),
        VocabularyTokenizer(LibraryVocabulary(made), 99, "text").limited(9),
    ):
        (ids,) = tokenizer.tokenize(["[PAD]"]).ids
        assert made.token_to_id("[PAD]") not in ids.tolist()
        assert tokenizer.token_id("[PAD]") == made.token_to_id("[PAD]")


def test_an_embedder_is_opened_with_it(converted: Path) -> None:
    padded = "a cat" + " [PAD]" * 50
    with Embedder(f"{converted}:int8") as plain, Embedder(f"{converted}:int8", special_tokens="text") as text:
        tokens = plain.encode(["a cat", padded])
        texts = text.encode(["a cat", padded])
        assert (tokens[0] == texts[0]).all()
        assert plain.count_tokens(padded).tokens == 54
        assert text.count_tokens(padded).tokens == 154
        assert float(tokens[1] @ texts[1]) < 0.9
    with pytest.raises(InputError, match="unknown special_tokens='txt': choose from 'text', 'tokens'"):
        Embedder(converted, special_tokens="txt")  # type: ignore[arg-type]


def test_a_file_without_a_model(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"added_tokens": []}))
    with pytest.raises(CorruptModelError, match=r"tokenizer.json is not a tokenizer.json: KeyError"):
        TextTokenizer(path, 8, "text")
