"""Every public class, function and method shows how it is used, and the example gives what it says."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_embed
from edge_embed import Embedder, vectors
from edge_embed.backends.fake import FakeBackend, FakeImageBackend
from edge_embed.spec.image import ImageSpec

from support.fake import SPEC

METHODS = [name for name in dir(Embedder) if not name.startswith("_")]
VALUES = {name: getattr(edge_embed, name) for name in edge_embed.__all__}
PUBLIC = {
    **{name: value for name, value in VALUES.items() if not (inspect.isclass(value) and issubclass(value, Warning))},
    **{f"Embedder.{name}": inspect.getattr_static(Embedder, name) for name in METHODS},
}
SHOWN = [name for name, value in PUBLIC.items() if not (inspect.isclass(value) and issubclass(value, Exception))]


@pytest.fixture(scope="module")
def names(converted: Path) -> Iterator[dict[str, Any]]:
    """Yield what the examples take for granted: a model, one that takes images, a tokenizer, and NumPy."""
    with Embedder(f"{converted}:int8", threads=2) as model:
        tokenizer = model._opened.pipeline.tokenizer
        parts = FakeBackend(SPEC.dim), FakeImageBackend(SPEC.dim)
        clip = Embedder.from_parts(replace(SPEC, image=ImageSpec(size=(32, 32))), tokenizer, *parts)
        yield vars(vectors) | vars(edge_embed) | {"model": model, "clip": clip, "tokenizer": tokenizer, "np": np}


@pytest.mark.parametrize("name", SHOWN)
def test_the_example(name: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # for those that write a file
    text = inspect.getdoc(PUBLIC[name])
    assert text is not None
    example = doctest.DocTestParser().get_doctest(text, dict(names), name, None, None)
    assert example.examples, f"{name} has no example"
    failures: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=failures.append)
    assert not failures, "".join(failures)


def test_what_is_shown() -> None:
    assert {"Embedder", "Embedder.encode_image", "search_binary", "compare", "ImageSources"} <= {*SHOWN}
