"""Late chunking: passages pooled over their own tokens of a document that is read whole, as transformers does it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from edge_embed import Embedder, Index, InputError
from edge_embed.cli.main import main
from edge_embed.search.late import LateChunking, windows

from support.search import fake_model, splitting

TEXT = "Berlin is the capital of Germany. Its people number three million. It lies on the river Spree, which is slow."
SPANS = [(0, 33), (34, 66), (67, 109)]


def pooled(folder: Path, text: str, spans: list[tuple[int, int]]) -> NDArray[np.float32]:
    """Return what transformers' model gives: the mean of the rows of each passage's tokens, of length 1."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    given = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    places = given.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        rows = model(**given).last_hidden_state[0].numpy()
    found = np.stack(
        [
            rows[[n for n, (a, b) in enumerate(places) if a < b and start <= a < stop]].mean(axis=0)
            for start, stop in spans
        ]
    )
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_passages_are_pooled_as_in_the_original_model(converted: Path, minilm: Path) -> None:
    with Embedder(f"{converted}:float32") as model:
        documents = [(TEXT, SPANS), (TEXT[34:], [(0, 32), (33, 75)])]
        found = np.stack([*LateChunking(model, 32, 384).encode(documents)])
        alone = model.encode_document([TEXT[start:stop] for start, stop in SPANS])
    expected = np.concatenate([pooled(minilm, text, spans) for text, spans in documents])
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert (found[1] * alone[1]).sum() < 0.95  # "Its people" has read of Berlin


def test_windows_overlap_and_every_passage_is_computed_once() -> None:
    rng = random.Random(1)
    for _ in range(300):
        longest = rng.choice((8, 32))
        lengths = [rng.randint(1, longest) for _ in range(rng.randint(1, 60))]
        ends = np.cumsum(lengths).tolist()
        passages = list(zip([0, *ends[:-1]], ends, strict=True))
        found = [*windows(passages, 64)]
        assert [n for window in found for n in range(window.begin, window.end)] == [*range(len(passages))]
        for window in found:
            assert window.first <= window.begin < window.end <= window.last
            assert passages[window.last - 1][1] - passages[window.first][0] <= 64
        if longest == 8:
            assert all(window.first < window.begin for window in found[1:])
            assert all(window.end < window.last for window in found[:-1])


def test_a_document_beyond_the_models_length_is_read_in_windows(tiny_tokenizer: Path) -> None:
    model = fake_model(tiny_tokenizer)  # whose rows depend on letters alone
    words = [f"word{n}" for n in range(90)]
    text, spans, at = " ".join(words), [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    found = np.stack([*LateChunking(model, 16, 64).encode([(text, spans)])])
    assert found.shape == (90, 64)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    other = np.stack(
        [
            *LateChunking(model, 16, 64).encode(
                [(text[spans[40][0] :], [(a - spans[40][0], b - spans[40][0]) for a, b in spans[40:]])]
            )
        ]
    )
    np.testing.assert_allclose(found[40:], other, atol=1e-5)


def test_models_that_it_is_not_for_are_refused(tiny_tokenizer: Path, tmp_path: Path) -> None:
    last = fake_model(tiny_tokenizer, pooling="last")
    with pytest.raises(InputError, match="late chunking needs mean pooling, fake has pooling 'last'"):
        Index.open(tmp_path / "a.db", last, late_chunking=True)
    assert not (tmp_path / "a.db").exists() or not (tmp_path / "a.db").stat().st_size
    with pytest.raises(InputError, match="late chunking needs room for two passages at least"):
        Index.open(":memory:", fake_model(tiny_tokenizer), chunk_tokens=100, late_chunking=True)


@splitting
def test_an_index_is_made_with_it_and_keeps_it(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.db"
    with Embedder(f"{converted}:int8") as model:
        with Index.open(path, model, chunk_tokens=12, late_chunking=True) as index:
            index.add([{"id": "berlin", "text": TEXT}, {"id": "short", "text": "Tea is served."}])
            assert index.status().late_chunking
            assert index.status().passages >= 4
            assert [hit.id for hit in index.search("How many people live in Berlin?", top=1)] == ["berlin"]
        with pytest.raises(InputError, match="was made with late chunking"):
            Index.open(path, model, late_chunking=False)
        with Index.open(path, model) as index:
            index.add([{"id": "berlin", "text": f"{TEXT} {TEXT}"}])
            assert index.status().items == 2
    (tmp_path / "notes.md").write_text(TEXT * 9)
    words = ["index", str(tmp_path / "notes.md"), "--index", str(tmp_path / "b.db"), "--model", f"{converted}:int8"]
    assert main([*words, "--chunk-tokens", "20", "--late-chunking"]) == 0
    assert main(["index", "--status", "--index", str(tmp_path / "b.db")]) == 0
    assert "passages of 20 tokens, read with their documents" in capsys.readouterr().out
