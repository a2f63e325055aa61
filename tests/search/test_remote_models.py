"""A service of several models: the one of the index's vector space is asked, by its fingerprint or by known texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_embed import Index, ModelSpec, SearchIndexError
from edge_embed.search.remote import _model_for, encode_query
from edge_embed.server.describe import Described
from edge_embed.server.engine import Engine, Observe
from edge_embed.server.gather import gather
from edge_embed.server.models import Model
from edge_embed.server.settings import Settings

from support.search import SPEC, fake_model
from support.service import Loader, running

OTHER = {"query": "{text}", "document": f"{'q' * 31}{{text}}"}  # prompts by which vectors become others


class Each(Loader):
    """Opens each model with a spec of its own."""

    specs: dict[str, ModelSpec]

    def __call__(self, reference: str, task: str | None, settings: Settings, observe: Observe) -> Engine:
        self.spec = self.specs[reference]
        return super().__call__(reference, task, settings, observe)


@contextmanager
def serving(tokenizer: Path, *specs: ModelSpec) -> Iterator[tuple[str, Loader]]:
    """Serve models, and give the address and what tells which of them were opened."""
    described = [Described(spec=spec, level="onnx:int8", bytes=1, created=1, peak=1) for spec in specs]
    models = [Model(one.spec.name, one.spec.name, one) for one in described]
    loader = Each(tokenizer)
    loader.specs = {spec.name: spec for spec in specs}
    with running(tokenizer, models, gather(), loader) as service:
        loader.opened.clear()
        yield f"http://127.0.0.1:{service.port}", loader


@pytest.fixture
def index(tiny_tokenizer: Path) -> Callable[..., Index]:
    return lambda **changes: Index.open(":memory:", fake_model(tiny_tokenizer, **changes))


def test_the_model_with_the_fingerprint_is_asked(tiny_tokenizer: Path, index: Callable[..., Index]) -> None:
    first = replace(SPEC, name="first", fingerprint="1" * 32, prompts=OTHER)
    expected = fake_model(tiny_tokenizer).encode_query("tea")
    for name in ("fake", "another"):
        with serving(tiny_tokenizer, first, replace(SPEC, name=name)) as (server, loader), index() as mine:
            assert encode_query(server, "tea", mine.meta) == pytest.approx(expected, abs=1e-5)
            assert {reference for reference, _ in loader.opened} <= {name}
    message = "serves no model whose vectors are known to be comparable"
    with serving(tiny_tokenizer, first) as (server, _), index() as mine, pytest.raises(SearchIndexError, match=message):
        encode_query(server, "tea", mine.meta)


def test_known_texts_tell_where_a_fingerprint_is_missing(tiny_tokenizer: Path, index: Callable[..., Index]) -> None:
    first = replace(SPEC, name="first", fingerprint="1" * 32, prompts=OTHER)
    expected = fake_model(tiny_tokenizer).encode_query("tea")
    for here, there in ((None, "0" * 32), ("0" * 32, None), (None, None)):
        spec = replace(SPEC, fingerprint=there)
        with serving(tiny_tokenizer, first, spec) as (server, _), index(fingerprint=here) as mine:
            assert encode_query(server, "tea", mine.meta) == pytest.approx(expected, abs=1e-5)
        spec = replace(spec, prompts=OTHER)
        other = pytest.raises(SearchIndexError, match="serves no model")
        with serving(tiny_tokenizer, spec) as (server, _), index(fingerprint=here) as mine, other:
            encode_query(server, "tea", mine.meta)


@pytest.mark.parametrize(
    ("task", "served", "expected"),
    [
        ("retrieval", [("a", {"fingerprint": "1"}), ("b", {"tasks": ["sts", "retrieval"]})], "b:retrieval"),
        ("retrieval", [("b", {"tasks": ["sts"]}), ("b:query", {"tasks": ["retrieval"]})], None),
        ("", [("a", {"fingerprint": None}), ("fake", {"fingerprint": None})], "fake"),
        ("", [("a", {"fingerprint": None}), ("c", {"fingerprint": "0" * 32}), ("c:query", {})], "c"),
        ("", [("a", {"fingerprint": "1"})], None),
        ("", [], None),
    ],
)
def test_which_model(
    index: Callable[..., Index], task: str, served: list[tuple[str, dict[str, Any]]], expected: str | None
) -> None:
    with index() as mine:
        assert _model_for(replace(mine.meta, task=task), served) == expected
