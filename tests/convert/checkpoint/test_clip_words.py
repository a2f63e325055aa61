"""A tokenizer.json made of vocab.json and merges.txt, against transformers' CLIPTokenizer of the same files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from edge_embed import CorruptModelError, Embedder
from edge_embed.pipeline.guarded import GuardedTokenizer
from edge_embed_convert.checkpoint.clip_words import tokenizer_json

from support import tiny_clip
from support.corpus import texts

ODD = [
    "",
    "It's THE cat's 3,4-5 w\u0065\u0301  \t x\n",
    "a <|endoftext|> b",
    "1234 5!!?",
    "日本語 🙂",
    "we'll they'RE I'd",
]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Return a checkpoint whose tokenizer is what a class without a fast one saved."""
    folder = tmp_path / "clip"
    tiny_clip.make("clip", folder)
    model = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), "utf-8")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    return folder


def test_ids_equal_transformers(older: Path) -> None:
    made = GuardedTokenizer(older / "tokenizer.json", tokenizer_json(older).decode())
    vocabulary = json.loads((older / "vocab.json").read_text("utf-8"))
    merges = [tuple(line.split(" ")) for line in (older / "merges.txt").read_text("utf-8").splitlines()[1:]]
    theirs = CLIPTokenizer(vocab=vocabulary, merges=merges)
    for text in [*ODD, *texts(100)]:
        assert made.encode(text).ids == theirs(text)["input_ids"], text


def test_a_folder_opens_as_one_with_a_tokenizer(older: Path) -> None:
    with Embedder(older) as found:
        assert found.encode(["a cat"]).shape == (1, 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab.json": b"[]"}, "vocab.json holds a list, not an object"),
        ({"vocab.json": b'{"<|startoftext|>": 1}'}, r"vocab.json: <.endoftext.>=None is not a whole number from 0"),
        ({"merges.txt": b"\xff"}, "merges.txt cannot be read: .*; fetch it again"),
        ({"merges.txt": b"no merge of ours"}, "tokenizer.json is not a tokenizer.json: "),
    ],
)
def test_files_that_are_none(older: Path, change: dict[str, bytes], message: str) -> None:
    for name, data in change.items():
        (older / name).write_bytes(data)
    with pytest.raises(CorruptModelError, match=message):
        Embedder(older)
