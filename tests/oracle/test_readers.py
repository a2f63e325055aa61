"""Folders that we publish, in the hands of other readers: float32 and F16, the vectors that edge_embed gives.

`scripts/readers.sh` installs the readers and runs this; READERS_TABLE=FILE has what was measured written as Markdown.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from edge_embed import Embedder
from edge_embed_convert import convert

from support import tiny
from support.readers import PLACE, READERS, Reader

LEAST = 0.9999  # cosine of any text; 0.999999 was measured
TEXTS = ["a cat sits on the mat", "the kitten rests", "stock markets fell today", "x", "na\u00efve caf\u00e9, 12 words"]
LEVELS = {"onnx": "onnx:float32", "mlx": "mlx:float32", "gguf": "gguf:F16"}
REAL = "all-MiniLM-L6-v2"
MODELS = {REAL: "mean", "tiny-qwen3": "last"}
Made = Callable[[str, str], tuple[Path, NDArray[np.float32]]]


def describe_tokenizer(folder: Path) -> None:
    """Write what published models have beside tokenizer.json."""
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pad = next(word for word in ("[PAD]", "<pad>", "<s>", words.id_to_token(0)) if words.token_to_id(word) is not None)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": pad}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def made(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return what converts a model to a format, once -> its folder, the checkpoint with ONNX, and our own vectors."""
    out = tmp_path_factory.mktemp("published")
    source = out / "source"
    tiny.make("qwen3", source, "lasttoken", hidden_size=64)
    describe_tokenizer(source)

    @cache
    def make(name: str, kind: str) -> tuple[Path, NDArray[np.float32]]:
        place = minilm if name == REAL else source
        (folder,) = convert(place, out, [LEVELS[kind]], name=name, portable=True, keep_checkpoint=kind == "onnx")
        with Embedder(f"{folder}:{LEVELS[kind].partition(':')[2]}") as model:
            return folder, model.encode(TEXTS)

    return make


@pytest.fixture(scope="module")
def table() -> Iterator[dict[tuple[str, str], tuple[str, float]]]:
    """Collect versions and least cosines by reader and model, and write them where READERS_TABLE says."""
    rows: dict[tuple[str, str], tuple[str, float]] = {}
    yield rows
    if rows and (path := os.environ.get("READERS_TABLE")):
        lines = [f"| reader | version | {' | '.join(MODELS)} |", f"|---|---|{'---|' * len(MODELS)}"]
        for reader in READERS:
            own = {model: row for (name, model), row in rows.items() if name == reader.name}
            if own:
                cells = (f"{own[model][1]:.6f}" if model in own else "" for model in MODELS)
                lines.append(f"| {reader.name} | {next(iter(own.values()))[0]} | {' | '.join(cells)} |")
        Path(path).write_text("\n".join(lines) + "\n", "utf-8")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_reader_gives_our_vectors(
    reader: Reader,
    model: str,
    made: Made,
    table: dict[tuple[str, str], tuple[str, float]],
) -> None:
    if reader.absent:
        pytest.skip(reader.absent)
    if reader.only not in (None, MODELS[model]):
        pytest.skip(f"{reader.name} has language models alone")
    if model == REAL and not PLACE.exists():
        pytest.skip(f"the real model is read where there is {PLACE}: scripts/readers.sh makes it")
    folder, ours = made(model, reader.kind)
    version, vectors = reader.embed(folder, TEXTS)
    least = float((vectors * ours).sum(axis=1).min())
    table[reader.name, model] = version, least
    assert least >= LEAST


@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
def test_every_architecture_is_read(name: str, tmp_path: Path) -> None:
    """By what reads graphs, in batches with padding: language models' last token, others' mean."""
    if not PLACE.exists():
        pytest.skip(f"there is no {PLACE}: scripts/readers.sh installs what reads our folders")
    source = tmp_path / "tiny"
    tiny.make(name, source, "lasttoken" if name.startswith(("qwen", "llama", "mistral")) else "mean")
    describe_tokenizer(source)
    (folder,) = convert(source, tmp_path / "out", ["onnx:float32"], portable=True)
    with Embedder(f"{folder}:float32") as model:
        ours = model.encode(TEXTS)
    for reader in READERS:
        if reader.name in ("fastembed", "OpenVINO", "transformers.js 4") and not reader.absent:
            assert (reader.embed(folder, TEXTS)[1] * ours).sum(axis=1).min() >= LEAST, reader.name


PYTHON = re.compile(
    r"^With (?P<reader>[^\n]*?)(?: \(`pip[^\n]*)?:\n\n```(?P<language>python|js)\n(?P<code>.*?)```", re.S | re.M
)
RUN_BY = {
    "sentence-transformers": "sentence-transformers, ONNX",
    "transformers.js, in Node": "transformers.js 4",
}


@pytest.mark.parametrize("kind", LEVELS)
@pytest.mark.parametrize("model", MODELS)
def test_the_code_of_a_card_runs(kind: str, model: str, made: Made) -> None:
    """As it stands there, beside the folder, in the readers' own environments."""
    readers = {reader.name: reader for reader in READERS if not reader.absent}
    if not PLACE.exists():
        pytest.skip(f"there is no {PLACE}: scripts/readers.sh installs what reads our folders")
    folder, _ = made(model, kind)
    ran = 0
    for match in PYTHON.finditer((folder / "README.md").read_text("utf-8")):
        reader = readers[RUN_BY.get(match["reader"], match["reader"])]
        code = match["code"] + ("if (vectors.dims[0] !== 1) throw 1;" if match["language"] == "js" else "")
        if match["language"] == "js":
            code = code.replace('localModelPath = "."', f"localModelPath = {json.dumps(str(folder.parent))}")
        reader.run(code, folder.parent)
        ran += 1
    assert ran == {"onnx": 4, "mlx": 1, "gguf": 1}[kind]
