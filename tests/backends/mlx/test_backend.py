"""The MLX backend: transformers' numbers, any company, LoRA switched in place, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from edge_embed import BackendError, CorruptModelError, InputError, MissingDependencyError, UnsupportedModelError
from edge_embed.backends import Batch
from edge_embed.backends.mlx import model_thread
from edge_embed.backends.mlx.backend import COMPILED_TOKENS, MlxBackend, bucket, load
from edge_embed.backends.mlx.model_thread import MAX_FREE_BUFFERS
from edge_embed.backends.mlx.models import _alibi, _attention
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import File, Weights

from support import tiny
from support.fake import SPEC

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # PEFT asks transformers for it
]
Ids = list[NDArray[np.int32]]
WEIGHTS = Weights(format="mlx", level="float32", files=(File(path="model.safetensors"),))
TOLERANCE = 1e-4  # per element of unit vectors; 9e-7 was measured
COMPANY = 2e-6  # per element of hidden states near 1; 0 was measured with the wheel's own BLAS, which adds in order


def spec_of(folder: Path, pooling: str = "last") -> ModelSpec:
    config = json.loads((folder / "config.json").read_text())
    return replace(SPEC, architecture=config["model_type"], dim=config["hidden_size"], pooling=pooling)


def some_ids(*lengths: int) -> Ids:
    rng = np.random.default_rng(5)
    return [rng.integers(4, len(tiny.WORDS), length).astype(np.int32) for length in lengths]


def pooled(rows: NDArray[np.float32], pooling: str) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = {"mean": rows.mean(axis=0), "last": rows[-1], "first": rows[0]}[pooling]
    return vector / np.linalg.norm(vector)


def expected(model: Any, ids: Ids, pooling: str) -> list[NDArray[np.float32]]:
    with torch.inference_mode():
        states = [model(torch.from_numpy(row.astype(np.int64))[None]).last_hidden_state[0].numpy() for row in ids]
    return [pooled(rows, pooling) for rows in states]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a tiny Qwen3 checkpoint, to be spoilt."""
    tiny.make("qwen3", tmp_path / "tiny", "lasttoken", hidden_size=64)
    return tmp_path / "tiny"


def change(folder: Path, **tensors: Any) -> None:
    """Replace tensors of the checkpoint by name, with __ for a dot; None removes one."""
    stored = load_file(folder / "model.safetensors") | {name.replace("__", "."): x for name, x in tensors.items()}
    save_file({name: x for name, x in stored.items() if x is not None}, folder / "model.safetensors")


def configure(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))


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
    every = pooling == "mean" or (pooling == "first" and name[:5] in ("qwen3", "llama"))
    assert len(together[2]) == (64 if every else 1)
    for rows in (together, alone):
        vectors = [pooled(row, pooling) for row in rows]
        print(np.abs(np.array(vectors) - exact).max())
        np.testing.assert_allclose(vectors, exact, atol=TOLERANCE)
    backend.close()


@pytest.mark.parametrize("name", ["bert", "qwen3", "llama", "eurobert"])
def test_company_and_order_do_not_matter(name: str, tmp_path: Path) -> None:
    tiny.make(name, tmp_path)
    ids = some_ids(5, 1, 64, 2, 33)
    backend = load(tmp_path, spec_of(tmp_path, "mean"), WEIGHTS, 1)
    alone = [backend.forward(Batch([row]))[0] for row in ids]
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 3], [2, 2, 0]):
        for row, n in zip(backend.forward(Batch([ids[n] for n in order])), order, strict=True):
            assert row.dtype == np.float32
            np.testing.assert_allclose(row, alone[n], atol=COMPANY)
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
    wrong: list[int] = []

    def work(n: int) -> None:
        for _ in range(10):
            if not np.allclose(backend.forward(Batch([ids[n]]))[0], right[n], atol=1e-5):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n % 3,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
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


def quantise(folder: Path, bits: int, group: int, prefix: str = "") -> dict[str, NDArray[np.float32]]:
    """Quantise the checkpoint as mlx-lm does, and return what its weights are worth then."""
    tensors, worth = {}, {}
    for name, value in load_file(folder / "model.safetensors").items():
        worth[name], tensors[prefix + name] = value, mx.array(value)
        if value.ndim == 2 and value.shape[1] % group == 0:
            parts = mx.quantize(mx.array(value), group, bits)
            worth[name] = np.array(mx.dequantize(*parts, group_size=group, bits=bits))
            keys = (prefix + name, *(prefix + name.replace(".weight", end) for end in (".scales", ".biases")))
            tensors |= dict(zip(keys, parts, strict=True))
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, {"format": "mlx"})
    return worth


@pytest.mark.parametrize(("bits", "group"), [(4, 32), (8, 64), (6, 32)])
def test_quantisation_is_read_from_the_tensors(folder: Path, tmp_path: Path, bits: int, group: int) -> None:
    """Rows of 48 stay as they are; names with mlx-lm's prefix; nothing in config.json."""
    ids = some_ids(9, 33)
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text((folder / "config.json").read_text())
    save_file(quantise(folder, bits, group, "model."), plain / "model.safetensors")
    stored, dequantised = (load(place, spec_of(folder), WEIGHTS, 1) for place in (folder, plain))
    for row, other in zip(stored.forward(Batch(ids)), dequantised.forward(Batch(ids)), strict=True):
        np.testing.assert_allclose(row, other, atol=1e-4)
    stored.close()
    dequantised.close()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda f: change(f, norm__weight=None), CorruptModelError, r"lacks 1 tensors .*'norm\.weight'"),
        (lambda f: change(f, odd=np.ones(3, "f4")), UnsupportedModelError, "1 tensors have no place .*: 'odd'"),
        (lambda f: change(f, norm__weight=np.ones(3, "f4")), CorruptModelError, r"'norm\.weight' has shape \(3,\)"),
        (lambda f: change(f, norm__weight=np.ones(64)), UnsupportedModelError, r"'norm\.weight' is F64; only 'BF16'"),
        (
            lambda f: change(f, norm__weight=np.ones(64, "i4")),
            UnsupportedModelError,
            r"'norm\.weight' is mlx\.core\.int32",
        ),
        (lambda f: configure(f, rope_parameters=None, rope_theta=None), CorruptModelError, "no rope_theta"),
        (lambda f: configure(f, hidden_act="gelu"), UnsupportedModelError, "hidden_act='gelu' is not implemented"),
        (lambda f: configure(f, num_key_value_heads=3), CorruptModelError, "4 heads do not share 3 key heads"),
        (lambda f: configure(f, num_hidden_layers=1), UnsupportedModelError, "no place"),
    ],
)
def test_what_does_not_fit_is_named(
    folder: Path, spoil: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    spoil(folder)
    with pytest.raises(error, match=message):
        load(folder, spec_of(folder), WEIGHTS, 1)


@pytest.mark.parametrize(
    ("tensors", "config", "error", "message"),
    [
        ({"norm__scales": np.ones((1, 1), "f4")}, {}, CorruptModelError, r"'norm\.scales' belongs to no matrix"),
        ({"embed_tokens__biases": None}, {}, UnsupportedModelError, r"no '\.biases' beside it; only MLX's affine mode"),
        ({"embed_tokens__scales": None}, {}, UnsupportedModelError, "1 tensors have no place"),
        (
            {"embed_tokens__weight": np.zeros((83, 7), "u4")},
            {},
            CorruptModelError,
            r"tensor 'embed_tokens\.weight' \(83, 7\) .* is no quantisation of \(83, 64\): bits are 2, 3, 4, 5, 6, 8",
        ),
        (
            {"embed_tokens__scales": np.ones((83, 4), "f4"), "embed_tokens__biases": np.ones((83, 4), "f4")},
            {},
            CorruptModelError,
            r"with scales \(83, 4\) .* groups 32, 64, 128",
        ),
        ({}, {"bits": 8, "group_size": 64}, CorruptModelError, r"with 4 bits in groups of 64, config.json says 8 in"),
        ({}, {"bits": 4, "group_size": 32}, CorruptModelError, "config.json says 4 in groups of 32"),
        ({}, {"bits": 4, "group_size": 64, "mode": "mxfp4"}, UnsupportedModelError, "mode 'mxfp4' is not implemented"),
    ],
)
def test_quantisation_that_contradicts_itself(
    folder: Path, tensors: dict[str, Any], config: dict[str, Any], error: type[Exception], message: str
) -> None:
    quantise(folder, 4, 64)
    change(folder, **tensors)
    configure(folder, quantization=config or None)
    with pytest.raises(error, match=message):
        load(folder, spec_of(folder), WEIGHTS, 1)


def test_config_may_speak_of_single_layers(folder: Path) -> None:
    quantise(folder, 4, 64)
    configure(folder, quantization={"bits": 8, "group_size": 32, "mode": "affine"})
    names = [n.removesuffix(".scales") for n in load_file(folder / "model.safetensors") if n.endswith(".scales")]
    own = {f"model.{name}": {"bits": 4, "group_size": 64} for name in names}
    configure(folder, quantization={"bits": 8, "group_size": 32, **own})
    load(folder, spec_of(folder), WEIGHTS, 1).close()


def test_tables_that_no_vector_depends_on_may_be_whole_numbers(tmp_path: Path) -> None:
    """Older BERT checkpoints store the positions 0, 1, 2, ..."""
    tiny.make("bert", tmp_path)
    change(tmp_path, embeddings__position_ids=np.arange(96)[None])
    load(tmp_path, spec_of(tmp_path), WEIGHTS, 1).close()


def test_a_truncated_file_and_an_unknown_architecture(folder: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"model_type 'gpt2' .*'bert', 'eurobert', .*'qwen3' are.*gpt2\.py"):
        load(folder, replace(spec_of(folder), architecture="gpt2"), WEIGHTS, 1)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptModelError, match="is not a whole safetensors file"):
        load(folder, spec_of(folder), WEIGHTS, 1)


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
    [("Linux", r"'mlx\[cpu\]'"), ("Darwin", r"'edge-embed\[mlx\]'"), ("Windows", "another backend")],
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


def adapters_of(folder: Path, **tasks: dict[str, Any]) -> tuple[dict[str, Path], dict[str, Any]]:
    """Make PEFT adapters with random factors -> their folders, and the models that wrote them."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    folders, models = {}, {}
    for seed, (task, values) in enumerate(tasks.items()):
        torch.manual_seed(seed)
        wanted = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"], **values}
        model = get_peft_model(AutoModel.from_pretrained(folder).eval(), LoraConfig(**wanted)).eval()
        for name, parameter in model.named_parameters():
            if "lora_" in name:  # one of the two begins as 0
                parameter.data += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(folder / "adapters" / task)
        folders[task], models[task] = folder / "adapters" / task, model
    return folders, models


def test_switching_equals_peft(folder: Path) -> None:
    """Other ranks, scales and layers a task."""
    folders, models = adapters_of(
        folder,
        plain={},
        stable={"use_rslora": True, "r": 7},
        patterns={"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.0.*v_proj": 32}},
        other={"target_modules": ["gate_proj"]},
        started={"init_lora_weights": "mica", "target_modules": r"(?i).*Layers\.1\..*up_proj"},
    )
    backend = load(folder, replace(spec_of(folder), task="stable"), WEIGHTS, 1, folders)
    ids = some_ids(12, 33)
    for task in ("stable", "plain", "other", "patterns", "started", "plain"):
        backend.use_task(task)
        vectors = [pooled(rows, "last") for rows in backend.forward(Batch(ids))]
        alone = [pooled(backend.forward(Batch([row]))[0], "last") for row in ids]
        np.testing.assert_allclose(vectors, expected(models[task], ids, "last"), atol=TOLERANCE)  # 4e-7 was measured
        np.testing.assert_allclose(alone, vectors, atol=TOLERANCE)  # the compiled graph switches too
        (kept,) = backend.forward(Batch(ids[:1], prefix_length=8))  # and the prompt's keys and values
        np.testing.assert_allclose(pooled(kept, "last"), vectors[0], atol=TOLERANCE)
    with pytest.raises(InputError, match="unknown task 'retrieval': there are adapters for 'other', 'patterns',"):
        backend.use_task("retrieval")
    with pytest.raises(InputError, match="unknown task 'retrieval'"):
        load(folder, replace(spec_of(folder), task="retrieval"), WEIGHTS, 1, folders)
    backend.close()


def test_patterns_mean_the_names_of_the_model_that_was_trained(folder: Path) -> None:
    """An adapter of a model with a head has a prefix before every name; what steers the start alone says nothing."""
    from peft import PeftModel
    from transformers import AutoModel

    patterns = {"rank_pattern": {"^layers.0.self_attn.q_proj": 2}, "target_modules": ["layers.0.self_attn.q_proj"]}
    folders, _ = adapters_of(folder, bare=patterns)
    exact = PeftModel.from_pretrained(AutoModel.from_pretrained(folder), folders["bare"]).eval()
    folders["headed"] = Path(shutil.copytree(folders["bare"], folder / "adapters" / "headed"))
    path = folders["headed"] / "adapter_model.safetensors"
    tensors = {name.replace("base_model.model.", "base_model.model.model."): x for name, x in load_file(path).items()}
    save_file(tensors, path)
    set_config(
        folders["headed"],
        rank_pattern={"^model.layers.0.self_attn.q_proj": 2},
        target_modules=["model.layers.0.self_attn.q_proj"],
        init_lora_weights="eva",
        eva_config={"rho": 2},
        lora_ga_config={"direction": "ArB2r"},
    )
    for task in folders:
        backend = load(folder, replace(spec_of(folder), task=task), WEIGHTS, 1, folders)
        vectors = [pooled(rows, "last") for rows in backend.forward(Batch(some_ids(12)))]
        np.testing.assert_allclose(vectors, expected(exact, some_ids(12), "last"), atol=TOLERANCE)
        backend.close()


def test_a_quantised_base_takes_adapters(folder: Path, tmp_path: Path) -> None:
    folders, _ = adapters_of(folder, plain={})
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text((folder / "config.json").read_text())
    save_file(quantise(folder, 8, 32), base / "model.safetensors")
    both = [load(place, replace(spec_of(folder), task="plain"), WEIGHTS, 1, folders) for place in (folder, base)]
    rows = [backend.forward(Batch(some_ids(20)))[0] for backend in both]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)
    for backend in both:
        backend.close()


def test_factors_as_mlx_lm_stores_them(folder: Path) -> None:
    folders, models = adapters_of(folder, plain={})
    stored = load_file(folders["plain"] / "adapter_model.safetensors")
    renamed = {
        name.replace("base_model.model.", "model.")
        .replace(".lora_A.weight", ".lora_a")
        .replace(".lora_B.weight", ".lora_b"): (np.ascontiguousarray(value.T))
        for name, value in stored.items()
    }
    place = folder / "mlx"
    place.mkdir()
    save_file(renamed, place / "adapters.safetensors")
    settings = {"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "scale": 2.0}}
    (place / "adapter_config.json").write_text(json.dumps(settings))
    backend = load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, {"plain": place})
    vectors = [pooled(rows, "last") for rows in backend.forward(Batch(some_ids(12)))]
    np.testing.assert_allclose(vectors, expected(models["plain"], some_ids(12), "last"), atol=TOLERANCE)
    backend.close()
    (place / "adapter_config.json").write_text(json.dumps({**settings, "fine_tune_type": "dora"}))
    with pytest.raises(UnsupportedModelError, match="fine_tune_type='dora' is not implemented"):
        load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, {"plain": place})
    for numbers in ({"rank": 4}, [4, 2.0], {"rank": 4.0, "scale": 2.0}, {"rank": 4, "scale": float("nan")}):
        (place / "adapter_config.json").write_text(json.dumps({"lora_parameters": numbers}))
        with pytest.raises(CorruptModelError, match=r"lora_parameters has (rank|scale)=.* is needed"):
            load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, {"plain": place})


def drop(folder: Path, end: str) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({name: x for name, x in load_file(path).items() if not name.endswith(end)}, path)


def twice(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    again = {name.replace("base_model.model.", "base_model.model.model."): x for name, x in load_file(path).items()}
    save_file(load_file(path) | again, path)


def set_config(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda f: set_config(f, use_dora=True), UnsupportedModelError, "use_dora=True cannot be switched on and off"),
        (lambda f: set_config(f, modules_to_save=["norm"]), UnsupportedModelError, r"modules_to_save=\['norm'\]"),
        (lambda f: set_config(f, bias="all"), UnsupportedModelError, "bias='all' cannot be switched"),
        (lambda f: set_config(f, init_lora_weights="pissa"), UnsupportedModelError, "init_lora_weights='pissa'"),
        (lambda f: set_config(f, peft_type="IA3"), UnsupportedModelError, "peft_type='IA3' is not implemented"),
        (lambda f: set_config(f, r=5), CorruptModelError, r"'layers\..*' .* says rank 5"),
        (lambda f: set_config(f, lora_alpha=None), CorruptModelError, "lora_alpha=None must be int or float"),
        (
            lambda f: drop(f, "0.self_attn.q_proj.lora_A.weight"),
            CorruptModelError,
            "one factor alone for 'layers.0.self",
        ),
        (
            lambda f: drop(f, ("q_proj.lora_A.weight", "q_proj.lora_B.weight")),
            CorruptModelError,
            "lacks the factors of",
        ),
        (lambda f: set_config(f, target_modules=["q_proj"]), CorruptModelError, r"has factors of .*puts no LoRA there"),
        (lambda f: twice(f), CorruptModelError, "has factors of one layer under two names"),
        (lambda f: set_config(f, fan_in_fan_out=True), UnsupportedModelError, "fan_in_fan_out=True cannot be switched"),
        (lambda f: set_config(f, lora_bias=True), UnsupportedModelError, "lora_bias=True cannot be switched"),
        (lambda f: (f / "adapter_config.json").write_text("{"), CorruptModelError, "is not JSON"),
        (lambda f: (f / "adapter_config.json").write_text("[]"), CorruptModelError, "holds a list, not an object"),
    ],
)
def test_adapters_that_cannot_be_switched(
    folder: Path, spoil: Callable[[Path], Any], error: type[Exception], message: str
) -> None:
    folders, _ = adapters_of(folder, plain={})
    spoil(folders["plain"])
    with pytest.raises(error, match=message):
        load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, folders)


def test_adapters_of_another_base(folder: Path, tmp_path: Path) -> None:
    folders, _ = adapters_of(folder, plain={})
    tiny.make("bert", tmp_path / "bert")
    with pytest.raises(CorruptModelError, match=r"has no place in the base, which has no linear layer 'layers\."):
        load(tmp_path / "bert", replace(spec_of(tmp_path / "bert"), task="plain"), WEIGHTS, 1, folders)
    tables = {"base_model.model.embed_tokens.lora_embedding_A": np.ones((4, 83), "f4")}
    save_file(tables, folders["plain"] / "adapter_model.safetensors")
    with pytest.raises(UnsupportedModelError, match="lora_embedding_A' is no LoRA of a linear layer"):
        load(folder, replace(spec_of(folder), task="plain"), WEIGHTS, 1, folders)


def test_a_backend_that_did_not_open_leaves_no_thread(folder: Path) -> None:
    before = threading.active_count()

    def fail() -> None:
        raise CorruptModelError("no")

    with pytest.raises(CorruptModelError):
        MlxBackend(fail, "last")
    assert threading.active_count() == before
