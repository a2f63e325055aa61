"""The MLX backend: transformers' numbers, any batch, LoRA switched in place, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from edge_embed import BackendError, CorruptModelError, MissingDependencyError
from edge_embed.architectures import attention, model_type_of
from edge_embed.backends import Batch
from edge_embed.backends.mlx import model_thread
from edge_embed.backends.mlx.backend import COMPILED_TOKENS, MlxBackend, bucket, load
from edge_embed.backends.mlx.model_thread import MAX_FREE_BUFFERS
from edge_embed.backends.mlx.models import _alibi, _attention

from support import tiny
from support.mlx_folders import TOLERANCE, WEIGHTS, expected, pooled, some_ids, spec_of
from support.threads import wrong_in_threads

DEVIATION = 2e-6  # per element of hidden states near 1; 0 was measured with the wheel's own BLAS, which adds in order


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
def test_float32_equals_transformers(name: str, pooling: str, tmp_path: Path) -> None:
    """Lengths around multiples of 32 among them, which gave NaN elsewhere."""
    model = tiny.make(name, tmp_path)
    ids = some_ids(5, 1, 64, 2, 33, 32, 31)
    exact = expected(model, ids, pooling)
    backend = load(tmp_path, spec_of(tmp_path, pooling), WEIGHTS, 1)
    together = backend.forward(Batch(ids))
    alone = [backend.forward(Batch([row]))[0] for row in ids]
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    kind = model_type_of(config)
    causal = kind != "gemma3_text" and attention({**config, "model_type": kind}) == "causal"  # Gemma's picks any row
    every = pooling == "mean" or (pooling == "first" and causal)
    assert len(together[2]) == (64 if every else 1)
    for rows in (together, alone):
        vectors = [pooled(row, pooling) for row in rows]
        print(np.abs(np.array(vectors) - exact).max())
        np.testing.assert_allclose(vectors, exact, atol=TOLERANCE)
    backend.close()


@pytest.mark.parametrize("name", ["bert", "qwen3", "llama", "eurobert"])
def test_batch_and_order_do_not_matter(name: str, tmp_path: Path) -> None:
    tiny.make(name, tmp_path)
    ids = some_ids(5, 1, 64, 2, 33)
    backend = load(tmp_path, spec_of(tmp_path, "mean"), WEIGHTS, 1)
    alone = [backend.forward(Batch([row]))[0] for row in ids]
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 3], [2, 2, 0]):
        for row, n in zip(backend.forward(Batch([ids[n] for n in order])), order, strict=True):
            assert row.dtype == np.float32
            np.testing.assert_allclose(row, alone[n], atol=DEVIATION)
    backend.close()


def test_long_texts_attend_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("qwen3", "eurobert"):
        model = tiny.make(name, tmp_path / name)
        monkeypatch.setattr("edge_embed.backends.mlx.models._attention.BLOCK", 16)
        backend = load(tmp_path / name, spec_of(tmp_path / name, "mean"), WEIGHTS, 1)
        ids = some_ids(70, 9, 33)
        vectors = [pooled(rows, "mean") for rows in backend.forward(Batch(ids))]
        np.testing.assert_allclose(vectors, expected(model, ids, "mean"), atol=TOLERANCE)
        backend.close()


@pytest.mark.parametrize("name", ["qwen3", "llama", "eurobert"])
def test_a_prompt_is_computed_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values of the ids that all texts begin with are kept; 2e-7 was measured, alone and together."""
    model = tiny.make(name, tmp_path, num_hidden_layers=3)
    prompts = some_ids(9, 12)
    made = [[np.concatenate([prompt, ids]) for ids in some_ids(5, 1, 33)] for prompt in prompts]
    backend = load(tmp_path, spec_of(tmp_path, "last"), WEIGHTS, 1)
    assert isinstance(backend, MlxBackend)
    computed = []
    if name != "eurobert":
        prefix = backend._model.prefix
        monkeypatch.setattr(type(backend._model), "prefix", lambda self, ids: computed.append(ids.size) or prefix(ids))
    for prompt, ids in zip(prompts, made, strict=True):
        exact = expected(model, ids, "last")
        together = backend.forward(Batch(ids, prefix_length=len(prompt)))
        alone = [backend.forward(Batch([row], prefix_length=len(prompt)))[0] for row in ids]
        for rows in (together, alone):
            np.testing.assert_allclose([pooled(row, "last") for row in rows], exact, atol=1e-5)
    backend.forward(Batch(made[0], prefix_length=3))  # not worth it
    assert computed == ([] if name == "eurobert" else [9, 12])
    backend.close()


@pytest.mark.parametrize("kind", ["full", "causal", "alibi"])
def test_attention_holds_no_square(kind: str) -> None:
    """2,048 tokens in 12 heads: 65 MB at the peak; 220, 147 and 220 when every block was asked for at once."""
    q, k, v = (mx.random.normal((1, 12, 2048, 16)) for _ in range(3))
    mx.eval(q, k, v)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    if kind == "alibi":
        mx.eval(_alibi.attend(q, k, v, _alibi.head_slopes(12), None))
    else:
        mx.eval(_attention.attend(q, k, v, None if kind == "full" else "causal"))
    print(f"{(mx.get_peak_memory() - before) / 1e6:.0f} MB")
    assert mx.get_peak_memory() - before < 100e6


def test_threads_may_share_it(folder: Path) -> None:
    backend = load(folder, spec_of(folder), WEIGHTS, 1)
    ids = some_ids(9, 17, 40)
    right = [backend.forward(Batch([row]))[0] for row in ids]
    assert not wrong_in_threads(
        lambda n: bool(np.allclose(backend.forward(Batch([ids[n]]))[0], right[n], atol=1e-5)), inputs=3, calls=10
    )
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="was closed"):
        backend.forward(Batch(ids))


@pytest.mark.parametrize("end", ["backend.close()", "del backend", "raise SystemExit(0)"])
def test_a_process_ends_in_peace(folder: Path, end: str) -> None:
    """MLX aborts at exit when a thread that used it has left streams behind."""
    code = f"""
from pathlib import Path
import numpy as np
from edge_embed.backends import Batch, load
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Weights
spec = ModelSpec(name="x", architecture="qwen3", dim=64, max_tokens=9, pooling="last", normalize=True)
weights = Weights(format="mlx", level="float32", files=(File(path="model.safetensors"),))
backend = load("mlx", Path({str(folder)!r}), spec, weights, 1)
for count in (1, 2):
    backend.forward(Batch([np.arange(5, dtype=np.int32)] * count))
{end}
"""
    for _ in range(3):  # it did so every other time
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (run.returncode, run.stderr) == (0, "")


def resident() -> float:
    """Return this process's resident memory in MB."""
    (line,) = (row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from Linux")
def test_memory_does_not_grow(folder: Path) -> None:
    backend = load(folder, spec_of(folder), WEIGHTS, 1)
    rng = np.random.default_rng(0)

    def embed(count: int) -> None:
        for _ in range(count):
            lengths = rng.integers(1, 60, rng.integers(1, 9))
            backend.forward(Batch([rng.integers(4, 40, length).astype(np.int32) for length in lengths]))

    embed(200)
    before = resident()
    embed(400)
    print(f"{resident() - before:.1f} MB more after 400 batches")
    assert resident() - before < 20  # 5.6 was measured
    assert mx.get_cache_memory() <= MAX_FREE_BUFFERS
    backend.close()


def test_freed_buffers_are_given_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = load(folder, spec_of(folder), WEIGHTS, 1)
    backend.forward(Batch(some_ids(60, 60)))
    assert mx.get_cache_memory() > 100_000
    monkeypatch.setattr(model_thread, "MAX_FREE_BUFFERS", 50_000)
    backend.forward(Batch(some_ids(60, 60)))
    assert mx.get_cache_memory() < 50_000  # 1,448 were measured: what the call itself still held
    backend.close()


def test_few_widths_are_compiled() -> None:
    widths = {length: bucket(length, None) for length in range(1, COMPILED_TOKENS + 1)}
    assert all(length <= width <= length * 1.125 for length, width in widths.items())
    assert len(set(widths.values())) == 48
    assert bucket(90, 93) == 93


def test_ids_and_lengths_beyond_the_tables(tmp_path: Path) -> None:
    tiny.make("bert", tmp_path)
    backend = load(tmp_path, spec_of(tmp_path), WEIGHTS, 1)
    with pytest.raises(CorruptModelError, match=r"the id 83, the weights have 83 words"):
        backend.forward(Batch([np.array([5, 83], np.int32)]))
    with pytest.raises(BackendError, match="a text has 97 tokens, the weights have positions for 96: set max_tokens"):
        backend.forward(Batch(some_ids(97)))
    backend.close()


@pytest.mark.parametrize(
    ("system", "message"),
    [("Linux", r"'mlx\[cpu\]'"), ("Darwin", r"pip install .*\[mlx\]'"), ("Windows", "another backend")],
)
def test_without_mlx_the_install_command_is_told(system: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    for name in [
        name
        for name in sys.modules
        if name.startswith(("edge_embed.backends.mlx.models", "edge_embed.backends.mlx.backend"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlx.core", None)
    with pytest.raises(MissingDependencyError, match=message):
        __import__("edge_embed.backends.mlx.models")


def test_a_backend_that_did_not_open_leaves_its_thread_to_the_next(folder: Path) -> None:
    def fail() -> None:
        raise CorruptModelError("no")

    counts = []
    for _ in range(3):
        with pytest.raises(CorruptModelError):
            MlxBackend(fail, "last")
        counts.append(threading.active_count())
    assert len(set(counts)) == 1
