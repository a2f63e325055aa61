"""No code that comes with a model is run, whatever its folder holds and its config.json asks for."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from edge_embed import Embedder
from edge_embed.errors import EdgeEmbedError
from edge_embed_convert import convert

PROGRAMS = (
    "__init__.py",
    "configuration_tiny.py",
    "modeling_tiny.py",
    "tokenization_tiny.py",
    "sitecustomize.py",
    "setup.py",
    "conftest.py",
    "onnx/__init__.py",
)


class Acts:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Return a path that is there once a program or a pickle has run."""
    return tmp_path / "it-ran"


def arm(folder: Path, mark: Path) -> None:
    """Put programs and pickles into a model's folder, under all names that are run elsewhere."""
    for name in PROGRAMS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    for name in ("pytorch_model.bin", "training_args.bin", "spiece.pkl"):
        (folder / name).write_bytes(pickle.dumps(Acts(mark)))
    config = json.loads((folder / "config.json").read_text())
    maps = {"AutoConfig": "configuration_tiny.TinyConfig", "AutoModel": "modeling_tiny.TinyModel"}
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": maps}))
    words = {"auto_map": {"AutoTokenizer": ["tokenization_tiny.TinyTokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(words))


def test_programs_and_pickles_are_left_alone(source: Path, mark: Path, tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Acts(mark)))
    mark.rmdir()  # the trap bites
    arm(source, mark)
    made = convert(source, tmp_path / "made", ["onnx:float32"], name="tiny")
    for place in (source, *made):
        with Embedder(place) as model:
            assert model.encode("a text").shape == (model.dim,)
    assert not mark.exists()
    copied = {path.name for folder in made for path in Path(folder).rglob("*")}
    assert not copied & {Path(name).name for name in (*PROGRAMS, "pytorch_model.bin")}, "nor handed on"


def test_weights_as_a_pickle_are_no_weights(source: Path, mark: Path) -> None:
    arm(source, mark)
    (source / "model.safetensors").unlink()
    with pytest.raises(EdgeEmbedError, match=r"no weights: expected model\.safetensors"):
        Embedder(source)
    assert not mark.exists()
