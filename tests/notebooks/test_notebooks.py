"""What a notebook shows: a model, and similarities; names that others chose are never HTML."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from edge_embed import Embedder, InputError, show_similarity
from edge_embed.backends.fake import FakeBackend
from edge_embed.pipeline.tokenizer import TextTokenizer

from support.fake import SPEC

HOSTILE = "<script>alert('x')</script>\"&\x1b[2J\u202e"


class Seen(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_model_shows_what_was_loaded_and_why(converted: Path) -> None:
    with Embedder(f"{converted}:int8", threads=1) as model:
        seen = Seen(model._repr_html_())
    assert set(seen.tags) == {"table", "caption", "tbody", "tr", "th", "td"}
    text = " ".join(seen.texts)
    for part in ("all-MiniLM-L6-v2", "bert, 384 dimensions", "weights", "onnx:int8", "1 threads", "MB at most so far"):
        assert part in text


def test_a_models_name_is_no_html(tiny_tokenizer: Path) -> None:
    spec = replace(SPEC, name=HOSTILE)
    model = Embedder.from_parts(spec, TextTokenizer(tiny_tokenizer, spec.max_tokens), FakeBackend(spec.dim))
    page = model._repr_html_()
    assert "script" not in Seen(page).tags
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_similarities_are_a_table() -> None:
    shown = show_similarity(np.array([[0.9, -0.1]]), ["a hot drink"], ["tea", "tax law"])
    assert str(shown).splitlines() == ["                tea  tax law", "a hot drink   0.900   -0.100"]
    assert repr(shown) == str(shown)
    seen = Seen(shown._repr_html_())
    assert seen.texts == ["tea", "tax law", "a hot drink", "0.900", "-0.100"]
    assert "rgba(46, 125, 50, 0.54)" in shown._repr_html_()


def test_what_is_not_named_has_a_number() -> None:
    assert str(show_similarity([0.5, 0.25])).split() == ["0", "1", "0", "0.500", "0.250"]


def test_texts_are_escaped_and_cut() -> None:
    shown = show_similarity([[0.5]], [HOSTILE], ["x" * 100])
    assert "script" not in Seen(shown._repr_html_()).tags
    for text in (str(shown), shown._repr_html_()):
        assert not {"\x1b", "\u202e"} & {*text}
        assert "x" * 41 not in text.replace(f'title="{"x" * 100}"', "")


def test_a_large_table_says_what_is_left_out() -> None:
    shown = show_similarity(np.zeros((1000, 30)))
    assert str(shown).splitlines()[-1] == "940 more rows and 6 more columns"
    assert shown._repr_html_().count("<tr>") == 61


@pytest.mark.parametrize(("rows", "columns"), [(["a"], ["b"]), (["a", "b"], None)])
def test_texts_that_do_not_fit_are_refused(rows: list[str], columns: list[str] | None) -> None:
    with pytest.raises(InputError, match="are named, of scores of"):
        show_similarity([[1, 2, 3]], rows, columns)
    with pytest.raises(InputError, match="of shape"):
        show_similarity(np.zeros((1, 1, 1)))
