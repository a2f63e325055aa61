"""One input gives one vector, several give a matrix: read by mypy, which sees `assert_type`."""

from __future__ import annotations

from typing import assert_type

from edge_embed import Embedder
from edge_embed.pipeline.tokenizer import TokenCount
from edge_embed.vectors import Matrix, Vector


def test_types_say_one_or_many(fake: Embedder) -> None:
    assert_type(fake.encode("a"), Vector)
    assert_type(fake.encode({"text": "a"}), Vector)
    assert_type(fake.encode(["a"], precision="int8"), Matrix)
    assert_type(fake.encode_query(("a", {"text": "b"})), Matrix)
    assert_type(fake.count_tokens("a"), TokenCount)
    assert_type(fake.count_tokens(["a"]), list[TokenCount])
