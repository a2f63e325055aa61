"""The pipeline, on the fake backend: what comes out, in which order and shape, and what is refused before any work."""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest

from edge_embed import BackendError, Embedder, InputError, TruncationWarning
from edge_embed.backends import Batch
from edge_embed.backends.facts import FASTEST, names
from edge_embed.backends.fake import FakeBackend, row_of
from edge_embed.embedder import BackendName
from edge_embed.pipeline import inputs as inputs_module
from edge_embed.pipeline import windows
from edge_embed.pipeline.texts import check_texts
from edge_embed.vectors import quantize

from support.fake import SPEC

TEXTS = ["b", "a long text of many letters"[:20], "", "c d e", "b"]


def backend_of(embedder: Embedder) -> FakeBackend:
    return cast(FakeBackend, embedder._opened.pipeline.backend)


def test_one_text_is_one_vector_and_a_list_is_rows(fake: Embedder) -> None:
    rows = fake.encode(TEXTS)
    assert rows.shape == (5, 16)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    for text, row in zip(TEXTS, rows, strict=True):
        one = fake.encode(text)
        assert one.shape == (16,)
        np.testing.assert_allclose(one, row, atol=1e-7)
    assert (fake.encode(inputs=TEXTS) == rows).all()
    assert fake.encode(tuple(TEXTS)).tolist() == fake.encode(np.array(TEXTS)).tolist() == rows.tolist()  # type: ignore[call-overload]


def test_encoding_methods_take_the_same_options() -> None:
    options = {
        name: {key: str(one) for key, one in inspect.signature(getattr(Embedder, name)).parameters.items()}
        for name in ("encode", "encode_query", "encode_document", "encode_image", "encode_iter")
    }
    encode, sided = options["encode"], options["encode_query"]
    assert [*encode][:2] == ["self", "inputs"]
    assert sided == options["encode_document"] == {key: value for key, value in encode.items() if key != "side"}
    image, stream = options["encode_image"], options["encode_iter"]
    assert encode.keys() - image.keys() == {"inputs", "side", "truncation"}  # which images alone would not feel
    assert stream.keys() - encode.keys() == {"errors"}
    assert stream.pop("show_progress_bar").endswith("= False")  # what an iterator is for is not known
    for other in (image, stream):
        assert all(encode[key] == value for key, value in other.items() if key not in ("inputs", "images", "errors"))
    assert set(get_args(BackendName)) == {"auto", FASTEST, *names()}


def test_vectors_are_normalised_as_the_model_was_trained(fake: Embedder) -> None:
    pipeline = fake._opened.pipeline
    plain = Embedder.from_parts(replace(SPEC, normalize=False), pipeline.tokenizer, pipeline.backend)
    raw = fake.encode(TEXTS, normalize_embeddings=False)
    assert (plain.encode(TEXTS) == raw).all()
    assert (np.stack([*plain.encode_iter(TEXTS)]) == raw).all()
    assert (plain.encode(TEXTS, normalize_embeddings=True) == fake.encode(TEXTS)).all()


def test_each_text_is_checked_once(fake: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def watched(texts: Sequence[object], first: int = 0) -> list[str]:
        seen.extend(texts)
        return check_texts(texts, first)

    monkeypatch.setattr(inputs_module, "check_texts", watched)
    fake.encode(TEXTS)
    assert seen == TEXTS


def test_a_vector_is_the_mean_of_its_tokens_rows(fake: Embedder) -> None:
    backend = backend_of(fake)
    (ids,) = fake._opened.pipeline.tokenizer.tokenize(["c d e"]).ids
    mean = np.mean([row_of(int(token), backend.dim) for token in ids], axis=0)
    np.testing.assert_allclose(fake.encode("c d e", normalize_embeddings=False), mean, rtol=1e-6)
    np.testing.assert_allclose(fake.encode("c d e"), mean / np.linalg.norm(mean), rtol=1e-6)
    np.testing.assert_allclose(fake.encode("c d e", truncate_dim=8), mean[:8] / np.linalg.norm(mean[:8]), rtol=1e-6)


@pytest.mark.parametrize(("precision", "width"), [("int8", 16), ("uint8", 16), ("binary", 2), ("ubinary", 2)])
def test_precisions(fake: Embedder, precision: Any, width: int) -> None:
    rows = fake.encode(TEXTS, precision=precision)
    assert rows.shape == (5, width)
    assert (rows == quantize(fake.encode(TEXTS), precision)).all()
    assert fake.encode([], precision=precision).shape == (0, width)
    assert fake.encode(TEXTS, precision=precision, truncate_dim=8).shape == (5, width // 2)


def test_an_empty_list(fake: Embedder) -> None:
    assert fake.encode([]).shape == (0, 16)
    assert fake.encode([], truncate_dim=4).shape == (0, 4)
    assert fake.encode([]).dtype == np.float32
    assert list(fake.encode_iter([])) == []
    assert not backend_of(fake).batches


def test_prompts_reach_the_text(fake: Embedder) -> None:
    plain = fake.encode(["query: a"])
    assert (fake.encode(["a"], prompt_name="query") == plain).all()
    assert (fake.encode_query(["a"]) == plain).all()
    assert (fake.encode(["a"], prompt="query: ") == plain).all()
    assert (fake.encode_document(["a"], prompt="query: ") == plain).all()
    assert (fake.encode_document(["a"], prompt_name="query") == plain).all()
    assert (fake.encode(["a"], side="query") == plain).all()
    assert (fake.encode_document(["a"]) == fake.encode(["a ."])).all()
    assert (next(fake.encode_iter(["a"], side="query")) == plain[0]).all()
    assert (fake.encode(["x"], prompt_name="braces") == fake.encode(["{x} {0}"])).all()


def test_streaming_holds_little(fake: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW", 10)
    taken = 0

    def source() -> Iterator[str]:
        nonlocal taken
        for n in itertools.count():
            taken += 1
            yield "abc"[n % 3]

    first = list(itertools.islice(fake.encode_iter(source()), 25))
    assert taken <= 31
    np.testing.assert_allclose(first, fake.encode(["a", "b", "c"] * 8 + ["a"]), atol=1e-7)
    monkeypatch.setattr(windows, "WINDOW_BYTES", 40)
    assert [len(window) for window in windows.split_windows(["aaa", "bbb", "c", "d", "e" * 9])] == [2, 3]


def test_batches_hold_the_budget(fake: Embedder) -> None:
    texts = [("a " * n).strip() for n in range(1, 21)]
    fake.encode(texts, batch_tokens=40)
    sizes = [(len(batch.ids), max(map(len, batch.ids))) for batch in backend_of(fake).batches]
    assert sum(rows for rows, _ in sizes) == 20
    assert all(rows * longest <= 40 for rows, longest in sizes)
    assert [longest for _, longest in sizes] == sorted((longest for _, longest in sizes), reverse=True)


def test_what_was_cut_is_reported_once(fake: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW", 2)
    texts = ["a " * 30, "b", "c", "d " * 50, "e"]
    with pytest.warns(TruncationWarning, match="2 of 5 texts were cut to 24 tokens; the longest has 52") as caught:
        fake.encode(texts)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(TruncationWarning) as caught:
        list(fake.encode_iter(texts))
    assert [one.filename for one in caught] == [__file__]
    assert fake.count_tokens(texts) == [(32, 8), (3, 0), (3, 0), (52, 28), (3, 0)]
    assert fake.count_tokens(["a"], prompt_name="query") == fake.count_tokens(["a"], side="query") == [(9, 0)]
    assert fake.count_tokens("b") == (3, 0)
    with pytest.raises(InputError, match="input 3 has 52 tokens, the limit is 24"):
        fake.encode(["b", "c", "d", "d " * 50], truncation="error")
    with pytest.warns(TruncationWarning):
        cut = fake.encode("a b c " * 20, truncation="start")
    with warnings.catch_warnings():
        assert np.allclose(cut, fake.encode(("a b c " * 20).split(" ", 38)[-1]), atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (b"abc", "inputs is bytes, expected a str or a list of str"),
        (None, "inputs is NoneType"),
        (7, "inputs is int"),
        ({"texts": "a"}, 'input 0 is a dict of \'texts\': expected {"text": ...}, {"image": ...} or both'),
        ({1, 2}, "inputs is set"),
        (iter(["a"]), "use encode_iter for an iterator"),
        (["a", None], "input 1 is NoneType"),
        (["a", "\ud800"], "input 1 has a lone surrogate"),
    ],
)
def test_wrong_inputs_are_refused_before_any_work(fake: Embedder, inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fake.encode(inputs)
    assert not backend_of(fake).batches


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt_name": "qurey"}, "unknown prompt 'qurey'"),
        ({"truncate_dim": 5}, r"truncate_dim=5: fake was trained for \[4, 8, 16\] only"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"truncation": "left"}, "unknown truncation 'left': choose from 'end', 'error', 'middle', 'start'"),
        ({"batch_tokens": 0}, "batch_tokens=0 must be at least 1"),
        ({"side": "queries"}, "unknown side 'queries': choose from 'document', 'query'"),
    ],
)
def test_wrong_options_are_refused_before_any_work(fake: Embedder, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fake.encode(["a"], **options)
    with pytest.raises(InputError, match=message):
        fake.encode_iter(["a"], **options)
    assert not backend_of(fake).batches


def test_a_misspelt_option_is_no_option(fake: Embedder) -> None:
    with pytest.raises(TypeError, match="batchsize"):
        fake.encode(["a"], batchsize=3)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="got one str: use encode"):
        fake.encode_iter("abc")


class Broken(FakeBackend):
    def forward(self, batch: Batch) -> list[Any]:
        rows = super().forward(batch)
        return [row * (np.nan if len(row) == 5 else 1) for row in rows]


def test_a_vector_that_is_not_finite_is_never_given_out(fake: Embedder) -> None:
    fake._opened.pipeline.backend = Broken(16)
    assert fake.encode(["a", "b c d e"]).shape == (2, 16)
    with pytest.raises(BackendError, match="input 2: the engine gave a vector that is not finite"):
        fake.encode(["a", "b", "c d e"])


def test_similarity_and_the_rest(fake: Embedder, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = fake.encode(["a", "b"]), fake.encode(["b"])
    np.testing.assert_allclose(fake.similarity(a, b)[1], [1], rtol=1e-6)
    np.testing.assert_allclose(fake.similarity_pairwise(a, a[::-1]), fake.similarity(a, a)[0, [1, 1]], rtol=1e-6)
    assert "16 dimensions, 24 tokens, mean pooling" in fake.explain()
    assert repr(fake) == "<Embedder fake FakeBackend, given by the caller>"
    fake.encode(["a"] * 3, show_progress_bar=True)
    assert "embedding: 3 texts in 0 s" in capsys.readouterr().err
    fake.encode(["a"] * 3)
    assert capsys.readouterr().err == ""
    with fake as same:
        assert same is fake
    assert backend_of(fake).closed


def test_truncate_dim_at_opening_holds_for_every_call(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Embedder] = []
    monkeypatch.setattr(Embedder, "close", lambda self: closed.append(self))
    with pytest.raises(InputError, match=r"truncate_dim=100: all-MiniLM-L6-v2 was trained for \[384\] only"):
        Embedder(f"{converted}:int8", truncate_dim=100)
    assert len(closed) == 1


def test_dim_is_the_length_of_vectors(fake: Embedder) -> None:
    assert fake.dim == 16
    fake._truncate_dim = 8
    assert fake.dim == fake.encode("a").shape[0] == next(fake.encode_iter(["a"])).shape[0] == 8
    assert fake.encode(["a"], truncate_dim=16).shape == (1, 16)
    assert "8 dimensions" in fake.explain()


def test_copies_and_pickles_open_the_model_again(converted: Path) -> None:
    with Embedder(f"{converted}:int8", max_tokens=100, truncate_dim=384, threads=1) as model:
        assert ", 1 threads (as asked for)\n" in model.explain()
        packed = pickle.dumps(model)
        expected, text = model.encode("a text"), model.explain()
    assert len(packed) < 2000
    for again in (pickle.loads(packed), copy.copy(model), copy.deepcopy(model)):
        with again:
            assert again.explain() == text
            assert again.spec.max_tokens == 100
            np.testing.assert_array_equal(again.encode("a text"), expected)


def test_what_was_made_from_parts_cannot_be_pickled(fake: Embedder) -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(InputError, match="made from parts and cannot be copied or pickled: open a model by its"):
            attempt(fake)
