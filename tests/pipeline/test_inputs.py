"""Inputs and prompts that could be meant in two ways are refused, and messages name the input's own index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_embed import Embedder, InputError
from edge_embed.backends import Batch
from edge_embed.backends.fake import FakeBackend
from edge_embed.errors import OutOfMemoryError
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.model import with_values

from support.fake import SPEC
from support.seeing import seeing


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode_iter({"text": "a"}), "takes an iterable of inputs, got one dict: use encode"),
        (lambda m: m.encode_iter(b"ab"), "takes an iterable of inputs, got one bytes"),
        (lambda m: m.encode(frozenset(["a"])), "inputs is frozenset, expected a str or a list of str"),
        (lambda m: m.count_tokens({"text": "a"}), "inputs is dict, expected a str or a list of str"),
        (lambda m: m.encode("a", prompt_name=""), "unknown prompt '': fake has 'braces', 'document', 'query'"),
        (
            lambda m: m.encode({"image": "a.png", "text": "a"}),
            "input 0 is an image with a text, fake takes texts alone",
        ),
        (lambda m: m.encode_image("a.png", prompt=""), "fake computes images without a prompt, got ''"),
        (lambda m: m.encode("a", prompt="{text}: {text}"), r"has \{text\} 2 times: a template takes the text once"),
        (lambda m: m.encode("a", prompt="q\0"), "the prompt has a NUL character at 1"),
        (lambda m: m.encode("a", prompt="q\udcff"), "the prompt has a lone surrogate"),
        (lambda m: m.encode("a", prompt=b"q"), "the prompt is bytes b'q', expected str: decode bytes first"),
    ],
)
def test_what_could_be_meant_otherwise(fake: Embedder, call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(fake)


def test_one_text_is_counted_as_one(fake: Embedder) -> None:
    assert fake.count_tokens("abc") == fake.count_tokens(["abc"])[0]


def test_a_file_whose_prompt_takes_the_text_twice() -> None:
    with pytest.raises(InputError, match=r"impossible value of 'prompts\.echo'"):
        with_values(SPEC, {"prompts": {"echo": "{text}, again: {text}"}})


class Picky(FakeBackend):
    """Refuses the letter z as an engine would, by the input's index, and has no memory for two texts at once."""

    def forward(self, batch: Batch) -> list[Any]:
        if len(batch.ids) > 2:
            raise OutOfMemoryError("no memory")
        for row, ids in enumerate(batch.ids):
            if len(ids) == 7:
                raise InputError(f"input {batch.index(row)} is not for me")
        return super().forward(batch)


@pytest.mark.filterwarnings("ignore:no memory")
@pytest.mark.parametrize("index", [0, 2, 3])
def test_an_engine_names_the_inputs_index(tiny_tokenizer: Path, index: int) -> None:
    texts = ["a", "a b c d e f g h", "a b", "a b c"]
    texts[index] = "a b c d e"
    model = Embedder.from_parts(replace(SPEC), TextTokenizer(tiny_tokenizer, SPEC.max_tokens), Picky(SPEC.dim))
    with pytest.raises(InputError, match=f"input {index} is not for me"):
        model.encode(texts)
    with pytest.raises(InputError, match=f"input {4100 + index} is not for me"):
        list(model.encode_iter([*["x"] * 4100, *texts], batch_tokens=8))


def test_an_image_with_a_text_where_only_one_of_them_is_taken(tiny_tokenizer: Path) -> None:
    with pytest.raises(InputError, match="input 1 is an image with a text, fake embeds one or the other: give them as"):
        seeing(tiny_tokenizer).encode(["tea", {"image": b"", "text": "a"}])
