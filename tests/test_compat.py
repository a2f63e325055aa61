"""May vectors of one model be searched with queries of another: measured, and answered."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_embed import Embedder, InputError
from edge_embed.backends import Batch
from edge_embed.backends.fake import FakeBackend
from edge_embed.cli.main import main
from edge_embed.compat import compare
from edge_embed.pipeline.tokenizer import TextTokenizer

from support.fake import SPEC


def texts(count: int) -> list[str]:
    """Short texts, none of which any model cuts."""
    words = ["tea", "rain", "bus", "goat", "lamp", "salt", "moon", "code"]
    return [f"{words[n % 8]} {words[n * 5 // 8 % 8]} {n}" for n in range(count)]


def test_levels_of_one_model_are_compatible(converted: Path) -> None:
    with Embedder(f"{converted}:float32") as a, Embedder(f"{converted}:int8") as b:
        found = compare(a, b, texts(60))
    assert found.answer
    assert found.same_space
    assert 0.98 < found.least_cosine < found.mean_cosine < 1
    assert 0.85 <= found.overlap <= 1
    assert found.sentence().startswith("Yes: the vector space is the same; over 60 texts the cosine is 0.9")


class Noisy(FakeBackend):
    """Rows with noise of their own."""

    def forward(self, batch: Batch) -> list[NDArray[np.float32]]:
        noise = np.random.default_rng(1)
        return [rows + 0.4 * noise.standard_normal(rows.shape, np.float32) for rows in super().forward(batch)]


def test_what_is_measured_decides(tiny_tokenizer: Path) -> None:
    words = TextTokenizer(tiny_tokenizer, SPEC.max_tokens)
    plain = Embedder.from_parts(SPEC, words, FakeBackend(SPEC.dim))
    assert compare(plain, plain, texts(40)).to_json() == {
        "compatible": True,
        "same_space": None,
        "mean_cosine": pytest.approx(1),
        "least_cosine": pytest.approx(1),
        "overlap": 1.0,
        "texts": 40,
    }
    noisy = Embedder.from_parts(SPEC, words, Noisy(SPEC.dim))
    found = compare(plain, noisy, texts(40))
    assert found.mean_cosine < 0.97
    assert not found.answer
    assert found.sentence().startswith("No: the vector space is not known to be the same; over 40 texts")
    one, other = (Embedder.from_parts(replace(SPEC, fingerprint=x * 32), words, FakeBackend(SPEC.dim)) for x in "ab")
    assert not compare(one, other, texts(40)).answer  # as equal as may be, and yet another space


def test_what_cannot_be_compared(tiny_tokenizer: Path) -> None:
    words = TextTokenizer(tiny_tokenizer, SPEC.max_tokens)
    plain, short = (
        Embedder.from_parts(replace(SPEC, dim=dim, matryoshka_dims=()), words, FakeBackend(dim)) for dim in (16, 8)
    )
    with pytest.raises(InputError, match="10 texts are too few to compare with: give more than 10"):
        compare(plain, plain, texts(10))
    with pytest.raises(InputError, match="fake gives 16 numbers, fake 8: never compatible"):
        compare(plain, short, texts(20))


def test_the_command(converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compat", f"{converted}:float32", f"{converted}:int8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compatible"] is True
    folder = Path(shutil.copytree(converted, tmp_path / "m"))
    spec = json.loads((folder / "edge_embed.json").read_text())
    (folder / "edge_embed.json").write_text(json.dumps(spec | {"fingerprint": "0" * 32}))
    (folder / "SHA256SUMS").unlink()
    assert main(["compat", f"{folder}:int8", f"{converted}:int8"]) == 0
    assert capsys.readouterr().out.startswith("No: the vector space is another")
    assert main(["compat", str(folder), str(folder), "--texts", str(tmp_path / "none")]) == 1
    assert "cannot read texts" in capsys.readouterr().err
