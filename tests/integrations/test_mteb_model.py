"""Our model of mteb: prompts and adapters of the leaderboard, quantised vectors, a search, and scores that agree."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.mteb_model import EmbedderModel, decoded
from edge_embed import Embedder, InputError
from edge_embed.vectors import quantize, similarity

from support.absent import TOLD
from support.places import MINIATURES
from support.real_service import serving

TEXTS = ["Tea is served.", "The bus is late.", "Coffee is served."]
STS, RETRIEVAL = SimpleNamespace(type="STS"), SimpleNamespace(type="Retrieval")
WORDS = ["tea", "bus", "cake", "rain", "tax", "cat", "oak", "jazz"]


def batches(texts: list[str]) -> list[dict[str, list[str]]]:
    return [{"text": texts[:2]}, {"text": texts[2:]}]


def test_prompts_of_a_side_and_of_none(embedder: Embedder) -> None:
    model = EmbedderModel(embedder)
    given = batches(TEXTS)
    assert np.array_equal(model.encode(given, task_metadata=STS), embedder.encode(TEXTS))
    for side, call in (("query", embedder.encode_query), ("document", embedder.encode_document)):
        found = model.encode(given, task_metadata=RETRIEVAL, prompt_type=SimpleNamespace(value=side))
        assert np.array_equal(found, call(TEXTS))
    with pytest.raises(InputError, match="device='cuda'"):
        EmbedderModel(embedder, device="cuda")


@pytest.mark.skipif(not MINIATURES.exists(), reason="the trained miniatures are not here")
def test_a_base_takes_the_adapter_of_the_tasks_type_and_every_text_a_prompt(tmp_path: Path) -> None:
    base = str(MINIATURES / "mini-eurobert")
    model = EmbedderModel(base, backend="onnx", cache_dir=tmp_path)
    given = batches(TEXTS)
    found = {
        "text-matching": model.encode(given, task_metadata=STS),
        "clustering": model.encode(given, task_metadata=SimpleNamespace(type="Clustering")),
        "retrieval": model.encode(given, task_metadata=RETRIEVAL, prompt_type="document"),
    }
    asked = model.encode(given, task_metadata=RETRIEVAL, prompt_type="query")
    for task, vectors in found.items():
        with Embedder(base, backend="onnx", task=task, cache_dir=tmp_path) as alone:
            np.testing.assert_allclose(vectors, alone.encode_document(TEXTS), atol=1e-6)
            if task == "retrieval":
                np.testing.assert_allclose(asked, alone.encode_query(TEXTS), atol=1e-6)
    (folder,) = {path.parent for path in tmp_path.rglob("edge_embed.json") if "retrieval" in path.parent.name}
    with pytest.raises(InputError, match="made for retrieval, and STS is scored with text-matching: give the base"):
        EmbedderModel(str(folder)).encode(given, task_metadata=STS)


def test_images_and_both_at_once(sees: Embedder) -> None:
    model = EmbedderModel(sees)
    images = [Image.new("RGB", (9, 9), color) for color in ("red", "green")]
    task = SimpleNamespace(type="Any2AnyRetrieval")
    seen = model.encode([{"image": images}], task_metadata=task)
    assert np.array_equal(seen, sees.encode_image(images))
    both = model.encode([{"image": images, "text": TEXTS[:2]}], task_metadata=task, prompt_type="query")
    np.testing.assert_allclose(both, seen + sees.encode_query(TEXTS[:2]), atol=1e-6)


def test_quantised_vectors_have_the_cosines_of_their_codes(embedder: Embedder) -> None:
    vectors = embedder.encode(TEXTS)
    codes = quantize(vectors, "int8").astype(np.float32)
    for precision in ("int8", "uint8"):
        found = similarity(decoded(vectors, precision), decoded(vectors, precision))
        np.testing.assert_allclose(found, similarity(codes, codes), atol=1e-6)
    bits = quantize(vectors, "ubinary")
    signs = decoded(vectors, "binary")
    order = similarity(bits, bits, "hamming")[0].argsort()
    assert similarity(signs, signs)[0].argsort().tolist() == order.tolist()
    assert set(np.unique(signs)) == {-1, 1}
    with pytest.raises(InputError, match="truncate_dim=8"):
        EmbedderModel(embedder, dim=8).encode(batches(TEXTS), task_metadata=STS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return sets of JSON lines in which what belongs together shares a word."""
    place = tmp_path_factory.mktemp("sets")
    pairs = [(f"where is the {word}", f"the {word} is here, said number {n}") for n, word in enumerate(WORDS)]
    rows = [{"type": "query", "id": f"q{n}", "text": query} for n, (query, _) in enumerate(pairs)]
    rows += [{"type": "doc", "id": f"d{n}", "text": text} for n, (_, text) in enumerate(pairs)]
    rows += [{"type": "qrel", "query": f"q{n}", "doc": f"d{n}"} for n in range(len(pairs))]
    alike = [{"text1": a, "text2": pairs[(n * 3) % 8][1], "label": n / 9} for n, (a, _) in enumerate(pairs)]
    labels = [{"split": s, "text": f"{w} {n}", "label": w} for w in WORDS for n in range(12) for s in ("train", "test")]
    for name, lines in {"retrieval": rows, "sts": alike, "classification": labels}.items():
        (place / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place


@pytest.fixture
def mteb() -> Any:
    return pytest.importorskip("mteb", reason=TOLD)


def score(mteb: Any, model: Any, task: Any) -> float:
    return float(mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results[0].get_score())


@pytest.mark.filterwarnings("ignore")
def test_scores_are_those_of_the_original_model_and_of_the_service(
    mteb: Any, folder: Path, converted: Path, minilm: Path, tiny_tokenizer: Path
) -> None:
    from mteb.models import OpenAIAPIEncodeWrapper
    from sentence_transformers import SentenceTransformer

    from benchmarks.quality.mteb_tasks import local_tasks

    original = SentenceTransformer(str(minilm), device="cpu")
    with serving(f"{converted}:float32=m", tiny_tokenizer) as url, Embedder(f"{converted}:float32") as embedder:
        served = OpenAIAPIEncodeWrapper(url, "m", use_chat_template=False, modalities=["text"])
        ours = EmbedderModel(embedder)
        assert ours.mteb_model_meta.name.endswith("-onnx-float32")
        for task in local_tasks(folder):
            found = score(mteb, ours, task)
            assert found == pytest.approx(score(mteb, original, task), abs=1e-3), task.metadata.name
            assert found == pytest.approx(score(mteb, served, task), abs=1e-3), task.metadata.name
            assert found > 0.3 or task.metadata.type == "STS"


@pytest.mark.filterwarnings("ignore")
def test_a_search_over_bits_and_codes_is_scored(mteb: Any, folder: Path, embedder: Embedder) -> None:
    from mteb.models.models_protocols import EncoderProtocol, SearchProtocol

    from benchmarks.mteb_search import SearchModel
    from benchmarks.quality.mteb_tasks import local_tasks

    model = EmbedderModel(embedder)
    search = SearchModel(model)
    assert isinstance(model, EncoderProtocol)
    assert isinstance(search, SearchProtocol)
    task = local_tasks(folder)[0]
    assert score(mteb, search, task) == pytest.approx(score(mteb, model, task), abs=0.02)
    assert search.mteb_model_meta.name.endswith("-bits-int8")
    from mteb.mocks import MockRerankingTask

    assert 0 < score(mteb, search, MockRerankingTask()) <= 1


@pytest.mark.filterwarnings("ignore")
def test_the_command_prints_a_table(
    mteb: Any, folder: Path, converted: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import argparse

    from benchmarks.quality import mteb as command

    parser = argparse.ArgumentParser()
    command.configure(parser)
    words = [f"{converted}:int8", "--local", str(folder), "--search", "--out", str(tmp_path)]
    command.run(parser.parse_args(words)).show("quality.mteb")
    told = capsys.readouterr().out
    assert "LocalRetrieval (bits, int8)" in told
    assert "all types" in told
    assert list(tmp_path.rglob("*.json"))
