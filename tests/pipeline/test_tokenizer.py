"""Truncation keeps prompt and closing token; counts are those of the whole text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from edge_embed import CorruptModelError, InputError
from edge_embed.pipeline.texts import check_texts
from edge_embed.pipeline.tokenizer import PIECE, TextTokenizer
from edge_embed.pipeline.vocabulary import VocabularyTokenizer

from support.corpus import texts
from support.places import MINIATURES
from support.vocabularies import LibraryVocabulary


def words(path: Path, ids: list[int]) -> str:
    return Tokenizer.from_file(str(path)).decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        ("end", "[CLS] q : a b c d . [SEP]"),
        ("start", "[CLS] q : f g h i . [SEP]"),
        ("middle", "[CLS] q : a b h i . [SEP]"),
    ],
)
def test_only_content_is_cut(tiny_tokenizer: Path, truncation: str, kept: str) -> None:
    tokens = TextTokenizer(tiny_tokenizer, 9).tokenize(["a b c d e f g h i"], "q: {text} .", truncation)  # type: ignore[arg-type]
    assert words(tiny_tokenizer, tokens.ids[0].tolist()) == kept
    assert tokens.counts == [(14, 5)]


def test_odd_room_gives_the_beginning_one_more(tiny_tokenizer: Path) -> None:
    (ids,) = TextTokenizer(tiny_tokenizer, 5).tokenize(["a b c d e f"], truncation="middle").ids
    assert words(tiny_tokenizer, ids.tolist()) == "[CLS] a b f [SEP]"


def test_exact_length_is_not_cut(tiny_tokenizer: Path) -> None:
    tokenizer = TextTokenizer(tiny_tokenizer, 6)
    assert tokenizer.tokenize(["a b c d", "a b c d e", ""]).counts == [(6, 0), (7, 1), (2, 0)]
    assert tokenizer.tokenize(["a b c d"], truncation="error").counts == [(6, 0)]
    with pytest.raises(InputError, match=r"input 8 has 7 tokens, the limit is 6"):
        tokenizer.tokenize(["a", "a b c d e"], truncation="error", first=7)


def test_prompt_that_leaves_no_room_is_refused(tiny_tokenizer: Path) -> None:
    with pytest.raises(InputError, match="alone takes 6 of 6 tokens"):
        TextTokenizer(tiny_tokenizer, 6).tokenize(["a b"], "q w e r {text}")


def test_text_with_braces_is_not_a_template(tiny_tokenizer: Path) -> None:
    (ids,) = TextTokenizer(tiny_tokenizer, 60).tokenize(["{0} {text}"], "q {text}").ids
    whole = Tokenizer.from_file(str(tiny_tokenizer)).encode("q {0} {text}").ids
    assert ids.tolist() == whole


@pytest.mark.parametrize("truncation", ["end", "start", "middle"])
def test_pieces_of_a_long_text_give_what_the_whole_gives(minilm: Path, truncation: str) -> None:
    long = " ".join(texts(1000))
    assert len(long) > 2 * PIECE
    tokenizer = TextTokenizer(minilm / "tokenizer.json", 100)
    tokens = tokenizer.tokenize([long], "so: {text} !", truncation)  # type: ignore[arg-type]
    reference = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    reference.no_padding()
    reference.no_truncation()
    ids = reference.encode(f"so: {long} !").ids
    left, right = ids[:3], ids[-2:]
    content = ids[3:-2]
    room = 95
    expected = {"end": content[:room], "start": content[-room:], "middle": content[:48] + content[-47:]}[truncation]
    assert tokens.ids[0].tolist() == left + expected + right
    assert tokens.counts == [(len(ids), len(ids) - 100)]


@pytest.mark.parametrize("blank", [" ", "\u200b", "\x01"])
def test_pieces_without_tokens_lose_and_double_nothing(
    tiny_tokenizer: Path, blank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long text whose first or last piece is blank, control or zero-width characters, which are no tokens."""
    tokenizer = TextTokenizer(tiny_tokenizer, 40)
    made = Tokenizer.from_file(str(tiny_tokenizer))
    vocabulary = VocabularyTokenizer(LibraryVocabulary(made), 40)
    for module in ("tokenizer", "vocabulary"):
        monkeypatch.setattr(f"edge_embed.pipeline.{module}.PIECE", 32)
    nothing = blank * 70
    for template in ("{text}", "q: {text} .", "q: {text}", "{text} ."):
        before, after = template.split("{text}")
        for text in (f"a b{nothing}", f"{nothing}a b", f"a{nothing}b", nothing):
            words = [word for word in text.replace(blank, " ").split() if word]
            expected = made.encode(f"{before}{' '.join(words)}{after}").ids
            for one in (tokenizer, vocabulary):
                found = one.tokenize([text], template)
                assert found.ids[0].tolist() == expected, (type(one), template, words)
                assert found.counts == [(len(expected), 0)]


def test_ten_megabytes_without_a_space(minilm: Path) -> None:
    tokens = TextTokenizer(minilm / "tokenizer.json", 256).tokenize(["0123456789" * 1_000_000])
    assert len(tokens.ids[0]) <= 256
    assert tokens.ids[0][-1] == 102
    assert tokens.counts[0].tokens > 100


@pytest.mark.skipif(not MINIATURES.exists(), reason="the trained miniatures do not lie beside this checkout")
@pytest.mark.parametrize("truncation", ["end", "start", "middle"])
def test_byte_level_tokenizer_keeps_its_closing_token(truncation: str) -> None:
    path = MINIATURES / "mini-qwen3" / "tokenizer.json"
    tokens = TextTokenizer(path, 32).tokenize(["🙂 hello " * 30 + "🙂🙂"], "Query: {text} \n", truncation)  # type: ignore[arg-type]
    closing = Tokenizer.from_file(str(path)).encode("").ids
    assert tokens.ids[0][-1:].tolist() == closing
    text = words(path, tokens.ids[0].tolist())
    assert text.startswith("Query:")
    assert text.endswith(" \n<|endoftext|>")
    assert len(tokens.ids[0]) == 32


def test_padding_and_length_baked_into_a_file_are_ignored(minilm: Path) -> None:
    baked = json.loads((minilm / "tokenizer.json").read_text("utf-8"))
    assert baked["truncation"]["max_length"] == 128
    assert TextTokenizer(minilm / "tokenizer.json", 256).tokenize(["a", "a " * 200]).counts == [(3, 0), (202, 0)]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["a", b"b"], r"input 1 is bytes b'b', expected str: decode bytes first"),
        ([None], "input 0 is NoneType None, expected str"),
        (["a", 3.5], "input 1 is float 3.5"),
        (["ok", "a\0b"], "input 1 has a NUL character at 1"),
        (["x\ud800y"], r"input 0 has a lone surrogate '\\ud800' at 1"),
    ],
)
def test_what_is_not_text_is_refused_by_index(inputs: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_texts(inputs)


def test_a_broken_tokenizer_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(CorruptModelError, match=r"tokenizer.json is not a tokenizer.json"):
        TextTokenizer(tmp_path / "tokenizer.json", 8)
