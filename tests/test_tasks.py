"""One base, an adapter for each task: against transformers and PEFT, unmerged, on the trained miniatures of v5."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import PeftModel
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, processors
from transformers import AutoModel

from edge_embed import (
    CorruptModelError,
    EdgeEmbedError,
    Embedder,
    InputError,
    UnsupportedModelError,
)
from edge_embed.layouts.folder import read_folder
from edge_embed.loading.find import find_model
from edge_embed.loading.request import load_request
from edge_embed_convert import conversion as artefacts
from edge_embed_convert import convert
from edge_embed_convert.__main__ import main

from support import tiny
from support.corpus import texts
from support.marks import PEFT
from support.places import MINIATURES

pytestmark = [
    pytest.mark.skipif(not MINIATURES.exists(), reason="the trained miniatures are not here"),
    *PEFT,
]

BASES = ("mini-qwen3", "mini-eurobert")
TASKS = ("classification", "clustering", "retrieval", "text-matching")
TEXTS = texts(40, longest=150)
LEAST = 0.99999  # measured: 0.9999998
SHORT = 256  # tokens; longer texts than this are verified elsewhere
DIMS = [32, 64, 128, 256]
Vectors = NDArray[np.float32]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return what gives the converted folder of a base and a task; a base's four are made at once, by the command."""

    @cache
    def folder(base: str) -> Path:
        out = tmp_path_factory.mktemp(base)
        values = {"matryoshka_dims": DIMS, "license": "apache-2.0", "max_tokens": SHORT}
        (out / "spec.json").write_text(json.dumps(values))
        words = [str(MINIATURES / base), "--task", "all", "--spec", str(out / "spec.json")]
        assert main([*words, "--out", str(out), "--to", "onnx:float32"]) == 0
        return out

    return lambda base, task: folder(base) / f"{base}-{task}"


@pytest.fixture(scope="module")
def oracle() -> Callable[[str, str, str], Vectors]:
    """Return what embeds TEXTS after a prompt with an adapter that is not merged -> (texts, dim)."""

    @cache
    def model(base: str) -> PeftModel:
        loaded = AutoModel.from_pretrained(MINIATURES / base, dtype=torch.float32)
        adapters = MINIATURES / base / "adapters"
        made = PeftModel.from_pretrained(loaded, adapters / TASKS[0], adapter_name=TASKS[0])
        for task in TASKS[1:]:
            made.load_adapter(adapters / task, adapter_name=task)
        return made.eval()

    def embed(base: str, task: str, prompt: str) -> Vectors:
        tokenizer = Tokenizer.from_file(str(MINIATURES / base / "tokenizer.json"))
        tokenizer.enable_padding(pad_id=0)
        model(base).set_adapter(task)
        encoded = tokenizer.encode_batch([prompt + text for text in TEXTS])
        ids, mask = (torch.tensor([getattr(one, part) for one in encoded]) for part in ("ids", "attention_mask"))
        with torch.no_grad():
            hidden = model(base)(input_ids=ids, attention_mask=mask).last_hidden_state
        rows = hidden[torch.arange(len(TEXTS)), mask.sum(1) - 1]
        return torch.nn.functional.normalize(rows, dim=1).numpy()

    return embed


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a copy of a base that a test may change."""
    folder = copy("mini-qwen3", tmp_path / "mini")
    edit(folder / "config.json", max_position_embeddings=SHORT)
    return folder


def copy(base: str, folder: Path) -> Path:
    shutil.copytree(MINIATURES / base, folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", BASES)
def test_merged_is_what_peft_computes_unmerged(
    name: str, task: str, made: Callable[[str, str], Path], oracle: Callable[[str, str, str], Vectors]
) -> None:
    with Embedder(made(name, task)) as model:
        documents, queries, plain = model.encode_document(TEXTS), model.encode_query(TEXTS), model.encode(TEXTS)
    expected = oracle(name, task, "Document: ")
    assert (documents * expected).sum(axis=1).min() >= LEAST
    assert (plain == documents).all()
    if task == "retrieval":
        expected = oracle(name, task, "Query: ")
    assert (queries * expected).sum(axis=1).min() >= LEAST


def test_a_converted_spec_says_its_task(made: Callable[[str, str], Path]) -> None:
    for task in TASKS:
        spec = read_folder(made("mini-qwen3", task)).spec
        side = "query" if task == "retrieval" else "document"
        assert (spec.name, spec.task) == (f"mini-qwen3-{task}", task)
        assert spec.tasks == {task: {"query": side, "document": "document"}}
        assert (spec.default_prompt, spec.pooling, spec.padding_side) == ("document", "last", "right")
        assert (spec.matryoshka_dims, spec.license, spec.source) == (tuple(DIMS), "apache-2.0", None)
    prints = {read_folder(made(base, task)).spec.fingerprint for base in BASES for task in TASKS}
    assert len(prints) == 8
    assert f"task {TASKS[0]}" in (made("mini-qwen3", TASKS[0]) / "README.md").read_text()


def test_vectors_can_be_cut_where_the_spec_says(made: Callable[[str, str], Path]) -> None:
    with Embedder(made("mini-qwen3", "retrieval")) as model:
        whole, cut = model.encode(TEXTS[:3]), model.encode(TEXTS[:3], truncate_dim=64)
        np.testing.assert_allclose(cut, whole[:, :64] / np.linalg.norm(whole[:, :64], axis=1, keepdims=True), atol=1e-6)
        with pytest.raises(InputError, match=r"truncate_dim=96: .* \[32, 64, 128, 256\] only"):
            model.encode("a", truncate_dim=96)


@pytest.mark.parametrize("name", BASES)
def test_sentence_transformers_loads_the_folder(name: str, made: Callable[[str, str], Path]) -> None:
    folder = made(name, "retrieval")
    theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    with Embedder(folder) as ours:
        for side, vectors in (("query", ours.encode_query(TEXTS)), ("document", ours.encode_document(TEXTS))):
            assert (theirs.encode(TEXTS, prompt_name=side, batch_size=4) * vectors).sum(axis=1).min() > LEAST
        assert (theirs.encode(TEXTS[:2]) * ours.encode(TEXTS[:2])).sum(axis=1).min() > LEAST
    assert load_file(folder / "model.safetensors")["norm.weight"].dtype == np.float32
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert not config.keys() & {"auto_map", "classifier_pooling", "_name_or_path"}


@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        ("retrieval", "Document: "),
        ("retrieval.query", "Query: "),
        ("retrieval.passage", "Document: "),
        ("retrieval.document", "Document: "),
    ],
)
def test_the_suffix_of_a_task_picks_the_prompt(task: str, prompt: str, made: Callable[[str, str], Path]) -> None:
    with Embedder(made("mini-qwen3", "retrieval"), task=task) as model:
        assert model.spec.task == "retrieval"
        assert (model.encode("a b") == model.encode("a b", prompt=prompt)).all()
        assert (model.encode_query("a b") == model.encode("a b", prompt="Query: ")).all()
        assert (model.encode_document("a b") == model.encode("a b", prompt="Document: ")).all()


@pytest.mark.parametrize("task", ["clustering", "retrieval.queries", "query", "Retrieval", ""])
def test_a_task_is_never_guessed(task: str, made: Callable[[str, str], Path]) -> None:
    known = "'retrieval', 'retrieval.document', 'retrieval.passage', 'retrieval.query'"
    with pytest.raises(InputError, match=f"unknown task '{task}': mini-qwen3-retrieval has {known}$"):
        Embedder(made("mini-qwen3", "retrieval"), task=task)


def test_a_base_needs_a_task(base: Path) -> None:
    known = "'classification', 'clustering', 'retrieval', 'retrieval.document', .* 'text-matching'"
    with pytest.raises(InputError, match=f"mini has weights for several tasks: pass task=, one of {known}$"):
        Embedder(base)
    with pytest.raises(InputError, match=f"unknown task 'text_matching': mini has {known}$"):
        Embedder(f"{base}:float32", task="text_matching")
    with pytest.raises(InputError, match=r"unknown task 'clustering\.query'"):  # both sides have the same prompt
        Embedder(f"{base}:float32", task="clustering.query")


def test_a_base_is_merged_into_the_cache(
    base: Path, tmp_path: Path, made: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_dir = tmp_path / "cache"
    with Embedder(f"{base}:float32", task="retrieval.query", cache_dir=cache_dir) as model:
        assert model.spec.name == "mini-retrieval"
        assert "task retrieval\n" in model.explain()
        queries = model.encode(TEXTS[:5])
    with Embedder(made("mini-qwen3", "retrieval")) as other:
        np.testing.assert_allclose(queries, other.encode_query(TEXTS[:5]), atol=1e-5)
    (folder,) = cache_dir.glob("converted/*/mini-retrieval")
    assert not (folder / "model.safetensors").exists()
    with Embedder(f"{base}:float32", task="clustering", cache_dir=cache_dir) as model:
        assert model.spec.task == "clustering"
        assert np.abs(model.encode_document(TEXTS[:5]) - queries).max() > 0.01
    monkeypatch.setattr(artefacts, "open_variant", None)
    with Embedder(f"{base}:float32", task="retrieval", cache_dir=cache_dir) as model:
        assert (model.encode_query(TEXTS[:5]) == queries).all()
    weights = base / "adapters" / "clustering" / "adapter_model.safetensors"
    shutil.copy(base / "adapters" / "text-matching" / "adapter_model.safetensors", weights)
    with pytest.raises(TypeError, match="NoneType"):  # another adapter is another conversion
        Embedder(f"{base}:float32", task="clustering", cache_dir=cache_dir)


def official(base: str, folder: Path) -> Path:
    """Make of a miniature what the published bases look like: code of their own, no pooling said."""
    copy(base, folder)
    shutil.rmtree(folder / "1_Pooling")
    code = {"AutoModel": "modeling_jina_embeddings_v5.JinaEmbeddingsV5Model"}
    edit(
        folder / "config.json",
        architectures=["JinaEmbeddingsV5Model"],
        model_type="jina_embeddings_v5",
        auto_map=code,
        task_names=list(TASKS),
        max_position_embeddings=40960,
    )
    (folder / "modules.json").write_text(json.dumps([{"path": "", "type": "custom_st.JinaEmbeddingsV5"}]))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 131072, "eos_token": "<|endoftext|>"}')
    return folder


def test_a_published_base_needs_no_code_of_its_own(tmp_path: Path, oracle: Callable[[str, str, str], Vectors]) -> None:
    name, commit, cache = "jinaai/jina-embeddings-v5-text-small", "0123abc" + "0" * 33, tmp_path / "cache"
    storage = cache / "models--jinaai--jina-embeddings-v5-text-small"
    official("mini-qwen3", storage / "snapshots" / commit)
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text(commit)
    with find_model(load_request(name, cache_dir=cache, offline=True)) as found:
        assert found.model.spec.tasks.keys() == set(TASKS)
    with Embedder(f"{name}:float32", task="text-matching", cache_dir=cache, offline=True) as model:
        spec, vectors = model.spec, model.encode(TEXTS)
    assert (vectors * oracle("mini-qwen3", "text-matching", "Document: ")).sum(axis=1).min() >= LEAST
    assert (spec.name, spec.architecture) == ("jina-embeddings-v5-text-small-text-matching", "qwen3")
    assert (spec.source, spec.revision) == (name, commit)
    assert (spec.max_tokens, spec.matryoshka_dims, spec.license) == (32768, (32, 64, 128, 256), "cc-by-nc-4.0")
    (made,) = tmp_path.glob("cache/converted/*/*-text-matching")
    config = json.loads((made / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("qwen3", ["Qwen3Model"])
    assert not config.keys() & {"auto_map", "task_names"}


def test_which_architecture_is_behind_the_name(tmp_path: Path) -> None:
    folder = official("mini-eurobert", tmp_path / "jina-embeddings-v5-text-nano")
    (made,) = convert(folder, tmp_path, ["onnx:float32"], task="retrieval")
    spec = read_folder(made).spec
    assert (spec.architecture, spec.attention, spec.max_tokens) == ("eurobert", "full", 40960)
    assert json.loads((made / "config.json").read_text())["architectures"] == ["EuroBertModel"]
    assert not (made / "model.safetensors").exists()


@pytest.mark.parametrize("base", ["mini-qwen3", "mini-eurobert"])
def test_the_unified_mlx_layout(base: str, tmp_path: Path, oracle: Callable[[str, str, str], Vectors]) -> None:
    """Base and adapters in one folder, a model_type of their own: switched in place, no conversion."""
    size = "small" if base == "mini-qwen3" else "nano"
    folder = official(base, tmp_path / f"jina-embeddings-v5-text-{size}-mlx")
    assert read_folder(folder).levels() == ["mlx:bfloat16"]
    with Embedder(folder, task="retrieval") as model:
        for task in ("retrieval", "text-matching"):
            model.use_task(task)
            vectors = model.encode_document(TEXTS[::4])  # MLX is slow on a CPU
            assert (vectors * oracle(base, task, "Document: ")[::4]).sum(axis=1).min() >= LEAST


def test_an_adapter_from_elsewhere(base: Path, tmp_path: Path, made: Callable[[str, str], Path]) -> None:
    lora = shutil.move(base / "adapters" / "clustering", tmp_path / "mine")
    out = tmp_path / "out"
    words = ["--out", str(out), "--to", "onnx:float32", "--adapter", str(lora)]
    assert main([str(base), *words]) == 0
    assert main([str(base), *words, "--name", "other", "--no-checkpoint"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["mini-mine", "other"]
    assert (out / "mini-mine" / "model.safetensors").is_file()
    assert not (out / "other" / "model.safetensors").exists()
    with Embedder(out / "mini-mine") as model, Embedder(made("mini-qwen3", "clustering")) as other:
        assert (model.spec.task, model.spec.tasks) == (None, {})
        np.testing.assert_allclose(model.encode(TEXTS[:5]), other.encode_document(TEXTS[:5]), atol=1e-5)


def test_a_merged_folder_can_be_converted_on(made: Callable[[str, str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("mini-qwen3", "clustering"), tmp_path / "merged"))
    (again,) = convert(folder, tmp_path / "out", ["onnx:float32"], name="again")
    old, new = read_folder(folder).spec, read_folder(again).spec
    assert (new.name, new.task, new.fingerprint) == ("again", "clustering", old.fingerprint)
    (changed,) = convert(folder, tmp_path / "out", ["onnx:float32"], name="changed", spec={"max_tokens": 128})
    assert read_folder(changed).spec.fingerprint != old.fingerprint


def refused(base: Path, message: str, kind: type[EdgeEmbedError] = InputError, **options: Any) -> None:
    out = base.parent / "out"
    with pytest.raises(kind, match=message):
        convert(base, out, ["onnx:float32"], **options)
    assert not out.exists()


def test_what_does_not_fit_is_refused_before_any_work(base: Path, tmp_path: Path) -> None:
    adapter = base / "adapters" / "clustering"
    four = "'classification', 'clustering', 'retrieval', 'text-matching'"
    refused(base, f"unknown task 'poetry': {base} has adapters for {four}", task="poetry")
    refused(base, "unknown task 'retrieval.query'", task="retrieval.query")
    refused(base, f"is a base with adapters for {four}: pass task= ")
    refused(base, "task='clustering' and adapter='.*clustering' were both given", task="clustering", adapter=adapter)
    refused(base, "unknown keys 'dims'; known are .*'matryoshka_dims'", task="retrieval", spec={"dims": [32]})
    refused(base, "spec: matryoshka_dims: 'all' is not", task="retrieval", spec={"matryoshka_dims": "all"})
    refused(base, "spec: dim=128 contradicts the checkpoint, which says 256", task="retrieval", spec={"dim": 128})
    (adapter / "adapter_model.safetensors").unlink()
    refused(base, "has no adapter_model.safetensors", EdgeEmbedError, task="clustering")
    other = MINIATURES / "mini-eurobert" / "adapters" / "retrieval"
    refused(base, "merge into the base that the adapter was trained on", CorruptModelError, adapter=other)
    tiny.make("bert", tmp_path / "bert")
    refused(tmp_path / "bert", "unknown task 'retrieval': .*bert has adapters for none", task="retrieval")


@pytest.mark.parametrize("end", ["nothing", "a word"])
def test_last_pooling_needs_a_closing_token(base: Path, end: str) -> None:
    path = base / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    single = "$A" if end == "nothing" else "<|endoftext|> $A"
    special = [] if end == "nothing" else [("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=special)
    tokenizer.save(str(path))
    message = "appends no closing token, and pooling 'last' reads it: add a TemplateProcessing post-processor"
    refused(base, message, UnsupportedModelError, task="retrieval")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "retrieval,poetry"], "--task: unknown 'poetry': .* has adapters for 'classification'"),
        (["--task", ","], "--task: unknown ','"),
        (["--task", "retrieval", "--adapter", "x"], "task='retrieval' and adapter='x' were both given"),
        (["--task", "retrieval", "--spec", "nowhere.json"], "--spec nowhere.json is not JSON that can be read"),
        (["--task", "retrieval", "--spec", "list.json"], "--spec list.json holds a list, expected an object"),
    ],
)
def test_the_commands_errors(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.json").write_text("[32]")
    assert main([str(MINIATURES / "mini-qwen3"), "--out", "out", "--to", "onnx:float32", *words]) == 1
    assert re.fullmatch(f"error: {message}.*\n", capsys.readouterr().err)
    assert not Path("out").exists()
