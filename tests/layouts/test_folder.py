"""Folders: what is read from each layout, and what is refused with its name."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from edge_embed import CorruptModelError, Embedder, InputError, ModelNotFoundError, ModelSpec, UnsupportedModelError
from edge_embed.layouts.facts import PATH, facts_of, facts_of_folder
from edge_embed.layouts.folder import read_folder
from edge_embed.layouts.listing import Listing
from edge_embed.layouts.originals import checkpoint_files
from edge_embed.selection.choice import Constraints
from edge_embed.selection.choose import choose
from edge_embed.selection.memory import memory_plan
from edge_embed.spec.weights import Level


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    data = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def test_sentence_transformers_layout(source: Path) -> None:
    (source / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "Q: ", "passage": ""}, "default_prompt_name": "passage"})
    )
    (source / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# Tiny\nlicense: other\n")
    spec = read_folder(source).spec
    assert (spec.name, spec.architecture, spec.dim, spec.max_tokens) == ("tiny-bert", "bert", 32, 64)
    assert (spec.pooling, spec.normalize, spec.license) == ("mean", True, "mit")
    assert spec.prompts == {"query": "Q: {text}", "passage": "{text}"}
    assert spec.default_prompt == "passage"
    assert read_folder(source, "other").spec.name == "other"


def test_length_is_the_least_that_any_file_says(source: Path) -> None:
    (source / "sentence_bert_config.json").write_text("{}")
    assert read_folder(source).spec.max_tokens == 96
    (source / "tokenizer_config.json").write_text('{"model_max_length": 50}')
    assert read_folder(source).spec.max_tokens == 50


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode_cls_token": True}, "first"),
    ],
)
def test_pooling_as_flags_and_as_a_name(source: Path, config: dict[str, Any], pooling: str) -> None:
    (source / "1_Pooling" / "config.json").write_text(json.dumps(config))
    assert read_folder(source).spec.pooling == pooling


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (
            "1_Pooling/config.json",
            {"pooling_mode_max_tokens": True},
            "pooling 'max_tokens', 'mean_tokens' is not implemented",
        ),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "pooling none is not implemented"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case=true is not implemented"),
        ("config.json", {"hidden_size": None}, "config.json lacks a value that is needed: 'hidden_size'"),
        ("config.json", {"model_type": None}, "'model_type'"),
    ],
)
def test_values_that_are_not_implemented(source: Path, file: str, changes: dict[str, Any], message: str) -> None:
    edit(source / file, **changes)
    with pytest.raises((UnsupportedModelError, CorruptModelError), match=message):
        read_folder(source)


def test_modules_that_change_the_vector_are_refused(source: Path) -> None:
    modules = json.loads((source / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_LayerNorm", "type": "sentence_transformers.models.LayerNorm"})
    (source / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedModelError, match="modules 'LayerNorm' are not implemented"):
        read_folder(source)
    (source / "modules.json").write_text(json.dumps(modules[:1]))
    with pytest.raises(UnsupportedModelError, match="names no Pooling module"):
        read_folder(source)
    (source / "modules.json").unlink()
    with pytest.raises(UnsupportedModelError, match="does not say how to pool"):
        read_folder(source)


def test_missing_files_are_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no edge_embed.json, no config.json and no .gguf is there"):
        read_folder(tmp_path)
    (source / "tokenizer.json").rename(tmp_path / "t")
    with pytest.raises(ModelNotFoundError, match=r"has no tokenizer.json"):
        read_folder(source)
    (tmp_path / "t").rename(source / "tokenizer.json")
    (source / "model.safetensors").unlink()
    with pytest.raises(
        ModelNotFoundError, match=r"no weights: expected model\.safetensors, onnx/model\.onnx or a \.gguf file"
    ):
        read_folder(source)
    (source / "config.json").write_text("{")
    (source / "model.onnx").touch()
    with pytest.raises(CorruptModelError, match=r"config.json is not JSON"):
        read_folder(source)
    with pytest.raises(
        ModelNotFoundError, match=r"is a .json file: give the model's folder, or an .onnx or .gguf file"
    ):
        read_folder(source / "config.json")


def test_levels_by_file_name(source: Path) -> None:
    (source / "onnx").mkdir()
    for name in ("model_quantized.onnx", "model_fp16.onnx", "model_O1.onnx", "model.onnx_data"):
        (source / "onnx" / name).touch()
    (source / "openvino").mkdir()
    (source / "openvino" / "openvino_model.xml").touch()
    assert read_folder(source).levels() == ["onnx:float32", "onnx:float16", "onnx:int8"]
    (one,) = read_folder(source / "onnx" / "model_quantized.onnx").spec.weights
    assert (one.level, one.files[0].path) == ("int8", "onnx/model_quantized.onnx")
    (source / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no int4 .* it has 'onnx:float16', 'onnx:float32', 'onnx:int8'"):
        Embedder(f"{source}:int4")


def files_to_fetch(source: Path, level: Level | None, names: Iterable[str]) -> list[str]:
    """List what would be fetched of a repository with such files beside the small ones."""
    small = {path.relative_to(source).as_posix(): None for path in source.rglob("*.json")}
    model = read_folder(Listing(source, {**small, **dict.fromkeys(names)}))
    choice = choose(model, Constraints(level=level))
    return model.files_of(choice.weights) if choice.ready else model.checkpoint_files


def test_which_files_a_fetch_must_bring(source: Path) -> None:
    names = [
        "onnx/model.onnx",
        "onnx/model.onnx_data",
        "onnx/model_int8.onnx",
        "model.safetensors",
        "pytorch_model.bin",
    ]
    assert files_to_fetch(source, None, names) == ["onnx/model.onnx_data", "onnx/model.onnx"]
    assert files_to_fetch(source, "int8", names) == ["onnx/model_int8.onnx"]
    assert files_to_fetch(source, "float16", names) == ["model.safetensors"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert files_to_fetch(source, None, ["x", *shards]) == shards
    with pytest.raises(ModelNotFoundError, match=r"has a config\.json but no weights"):
        files_to_fetch(source, None, ["pytorch_model.bin"])


def test_a_fetch_of_a_base_brings_its_adapters(source: Path) -> None:
    adapter = ["adapters/a/adapter_config.json", "adapters/a/adapter_model.safetensors"]
    names = ["adapters/a/README.md", "model.safetensors", "onnx/model.onnx", "x/adapter_config.json", *adapter]
    for level in (None, "float32", "int8"):  # a graph of the base would lack the adapter
        assert files_to_fetch(source, level, names) == [*adapter, "model.safetensors"]
    assert checkpoint_files(names) == [*adapter, "model.safetensors"]
    assert checkpoint_files(adapter) == []


@pytest.mark.parametrize("prompts", [{"query": "Q: ", "document": ""}, {"passage": ""}, {}])
def test_adapters_are_tasks(source: Path, prompts: dict[str, str]) -> None:
    for task in ("retrieval", "poetry"):
        (source / "adapters" / task).mkdir(parents=True)
        (source / "adapters" / task / "adapter_config.json").write_text("{}")
    (source / "onnx").mkdir()
    (source / "onnx" / "model.onnx").touch()
    (source / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    repo = read_folder(source)
    document = {"query": "document", "document": "document"}
    sides = {"retrieval": {"query": "query", "document": "document"}, "poetry": document}
    known = "query" in prompts
    assert repo.spec.tasks == (sides if known else {"retrieval": {}, "poetry": {}})
    assert repo.spec.default_prompt == ("document" if known else None)
    assert repo.spec.task is None
    assert repo.levels() == []
    assert repo.adapters.keys() == sides.keys()
    with pytest.raises(InputError, match="tiny-bert has weights for several tasks: pass task="):
        Embedder(source)


def test_where_a_folder_came_from(source: Path) -> None:
    spec = read_folder(source, "bert", "user/bert", "abc").spec
    assert (spec.source, spec.revision) == ("user/bert", "abc")


def test_dims_that_the_config_states(source: Path) -> None:
    edit(source / "config.json", matryoshka_dims=[8, 16])
    assert read_folder(source).spec.matryoshka_dims == (8, 16)
    edit(source / "config.json", matryoshka_dims=None, matryoshka_dimensions=[4])
    assert read_folder(source).spec.matryoshka_dims == (4,)


V5 = "jinaai/jina-embeddings-v5-text-"


@pytest.mark.parametrize(
    ("name", "task"),
    [
        (f"{V5}small", None),
        (f"{V5}nano-retrieval", "retrieval"),
        (f"{V5}nano-text-matching", "text-matching"),
        (f"{V5}small-classification", "classification"),
        (f"{V5}small-clustering", "clustering"),
        (f"{V5}small-retrieval-GGUF", "retrieval"),
        (f"{V5}nano-mlx", None),
    ],
)
def test_facts_of_v5(name: str, task: str | None) -> None:
    facts = facts_of(name)
    assert (facts["pooling"], facts["normalize"], facts["license"]) == ("last", True, "cc-by-nc-4.0")
    assert facts["prompts"] == {"query": "Query: {text}", "document": "Document: {text}"}
    assert facts["matryoshka_dims"][-1] == (1024 if "small" in name else 768)
    assert facts.get("max_tokens") == (32768 if "small" in name else None)
    assert facts.get("task") == task
    side = "query" if task == "retrieval" else "document"
    assert facts.get("tasks") == (None if task is None else {task: {"query": side, "document": "document"}})


@pytest.mark.parametrize(
    "name", ["someone/jina-embeddings-v5-text-small", f"{V5}large", "jina-embeddings-v5-text-small", "x"]
)
def test_facts_are_of_no_other_model(name: str) -> None:
    assert facts_of(name) == {}


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("intfloat/e5-small-v2", "query: {text}", "passage: {text}"),
        ("Xenova/multilingual-e5-small", "query: {text}", "passage: {text}"),
        ("BAAI/bge-base-en-v1.5", "Represent this sentence for searching relevant passages: {text}", "{text}"),
        ("BAAI/bge-large-zh", "为这个句子生成表示以用于检索相关文章\uff1a{text}", "{text}"),
        ("nomic-ai/nomic-embed-text-v1.5-GGUF", "search_query: {text}", "search_document: {text}"),
        ("nomic-ai/modernbert-embed-base", "search_query: {text}", "search_document: {text}"),
        ("google/embeddinggemma-300m", "task: search result | query: {text}", "title: none | text: {text}"),
        ("ggml-org/embeddinggemma-300M-GGUF", "task: search result | query: {text}", "title: none | text: {text}"),
    ],
)
def test_prompts_that_models_state_in_prose_alone(name: str, query: str, document: str) -> None:
    prompts = facts_of(name)["prompts"]
    assert (prompts["query"], prompts["document"]) == (query, document)
    for other in ("BAAI/bge-m3", "thenlper/gte-base", "BAAI/bge-reranker-base", "intfloat/e5-base-unsupervised"):
        assert "prompts" not in facts_of(other)


@pytest.mark.parametrize(
    ("name", "pooling", "normalize", "max_tokens"),
    [
        ("Xenova/all-MiniLM-L6-v2", "mean", True, 256),
        ("Qdrant/all-MiniLM-L6-v2-onnx", "mean", True, 256),
        ("mlx-community/all-MiniLM-L6-v2-4bit", "mean", True, 256),
        ("Qdrant/paraphrase-multilingual-MiniLM-L12-v2-onnx-Q", "mean", False, 128),
        ("gpustack/bge-m3-GGUF", "first", True, 8192),
        ("Supabase/gte-small", "mean", True, None),
        ("thenlper/gte-large-zh", "first", True, None),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "first", True, None),
        ("mixedbread-ai/mxbai-embed-large-v1", "first", True, None),
        ("Qwen/Qwen3-Embedding-0.6B-GGUF", "last", True, None),
        ("jinaai/jina-embeddings-v2-base-code", "mean", True, 8192),
        ("gaianet/jina-embeddings-v2-base-en-GGUF", "mean", True, 8192),
        ("jinaai/jina-embeddings-v3-hf", "mean", True, 8192),
        ("onnx-community/gte-multilingual-base", "first", True, 8192),
        ("Alibaba-NLP/gte-large-en-v1.5", "first", True, 8192),
    ],
)
def test_poolings_of_models_that_others_converted(
    name: str, pooling: str, normalize: bool, max_tokens: int | None
) -> None:
    facts = facts_of(name)
    assert (facts["pooling"], facts["normalize"], facts.get("max_tokens")) == (pooling, normalize, max_tokens)


def test_a_folder_of_another_architecture_or_width_has_no_prompts_by_its_name(tmp_path: Path) -> None:
    assert facts_of_folder(tmp_path / "e5-small", "bert", 384)["prompts"]["document"] == "passage: {text}"
    assert facts_of_folder(tmp_path / "e5-small", "qwen3", 384) == {}
    assert facts_of_folder(tmp_path / "e5-small", "bert", 768) == {}


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        *(("e5-large-v2", 1024), ("multilingual-e5-base", 768), ("bge-small-zh-v1.5", 512), ("bge-large-en", 1024)),
        *(("snowflake-arctic-embed-xs", 384), ("snowflake-arctic-embed-m-long", 768), ("nomic-embed-text-v1.5", 768)),
        *(("snowflake-arctic-embed-l", 1024), ("snowflake-arctic-embed-l-v2.0", 1024), ("mxbai-embed-large-v1", 1024)),
        *(("Qwen3-Embedding-4B", 2560), ("snowflake-arctic-embed-m-v2.0", 768), ("bge-base-zh", 768)),
        *(("jina-embeddings-v2-small-en", 512), ("jina-embeddings-v2-base-es", 768), ("jina-embeddings-v3", 1024)),
    ],
)
def test_the_width_of_a_name(name: str, dim: int, tmp_path: Path) -> None:
    for kind in ("bert", "xlm-roberta", "nomic-bert", "qwen3"):
        assert facts_of_folder(tmp_path / f"{name}-GGUF", kind, dim + 64) == {}
    assert any(facts_of_folder(tmp_path / name, kind, dim) for kind in ("bert", "xlm-roberta", "nomic-bert", "qwen3"))


def test_a_namesake_of_another_shape_opens_as_what_it_is(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A BERT of 32 dimensions in a folder called bge-small-en is not that model."""
    assert read_folder(source.rename(source.with_name("bge-small-en"))).spec.prompts == {}
    assert not caplog.messages


def test_every_entry_of_facts_is_of_a_spec() -> None:
    for entry in json.loads(PATH.read_text()):
        assert entry.keys() - {"dims"} == {"match", "source", "model_type", "spec"}
        assert re.fullmatch(r"https://huggingface\.co/[\w.-]+/[\w.-]+", entry["source"])
        assert all(pattern.count("/") == 1 for pattern in entry["match"])
        needed = {"name": "x", "architecture": "x", "dim": 4096, "max_tokens": 1, "pooling": "last", "normalize": True}
        for pattern in entry["match"]:
            facts = facts_of(pattern.replace("*", ""))
            assert entry["spec"].items() <= facts.items()
            ModelSpec.from_json(json.dumps({"format": 1, **needed, **facts}))
    assert facts_of("Qwen/Qwen3-Embedding-0.6B")["matryoshka_dims"] == [32, 64, 128, 256, 512, 768, 1024]


def test_a_folder_has_the_facts_of_its_name_if_it_holds_that_architecture(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A BERT in a folder called e5-v is not E5-V, whose prompts would give other vectors in silence."""
    folder = source.rename(source.with_name("e5-v"))
    assert read_folder(folder).spec.prompts == {}
    assert facts_of_folder(folder, ["llava_next"], 64) == {}
    assert not caplog.messages
    assert facts_of_folder(folder, "llava_next", 64) == facts_of("royokong/e5-v")
    assert caplog.messages == [
        f"{folder} is taken for royokong/e5-v by its name, and has its pooling and prompts where its files state none; "
        "rename it if it is another model"
    ]


def test_files_win_over_facts_where_they_speak(source: Path) -> None:
    name = source.rename(source.with_name("jina-embeddings-v5-text-nano-retrieval"))
    edit(name / "config.json", model_type="eurobert")
    spec = read_folder(name).spec
    assert (spec.pooling, spec.max_tokens, spec.matryoshka_dims) == ("mean", 64, (32,))
    assert (spec.task, spec.default_prompt, spec.license) == ("retrieval", "document", "cc-by-nc-4.0")
    (name / "config_sentence_transformers.json").write_text('{"prompts": {"query": "Q: "}}')
    (name / "README.md").write_text("---\nlicense: mit\n---\n")
    (name / "modules.json").unlink()
    spec = read_folder(name).spec
    assert (spec.pooling, spec.normalize, spec.license) == ("last", True, "mit")
    assert spec.prompts == {"query": "Q: {text}", "document": "Document: {text}"}
    with pytest.raises(UnsupportedModelError, match="does not say how to pool"):  # of another repository
        read_folder(name, source="user/other")


def test_our_own_folder_is_checked(converted: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(converted, tmp_path / "m"))
    assert read_folder(source).levels() == ["onnx:float32", "onnx:int8"]
    model = read_folder(source)
    choice = choose(model, Constraints(level="int8"))
    assert model.files_of(choice.weights) == ["onnx/model_int8.onnx_data", "onnx/model_int8.onnx"]
    data = source / "onnx" / "model_int8.onnx_data"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(
        CorruptModelError, match=r"model_int8.onnx_data has \d+ bytes, edge_embed.json says \d+: copy it again"
    ):
        read_folder(source)
    data.unlink()
    (source / "onnx" / "model_int8.onnx").unlink()
    assert read_folder(source).levels() == ["onnx:float32"]
    with pytest.raises(InputError, match="has no int8"):
        Embedder(f"{source}:int8")
    shutil.rmtree(source / "onnx")
    with pytest.raises(ModelNotFoundError, match="none of the weight files"):
        read_folder(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"backend": "cuda"},
            "unknown backend 'cuda': choose from 'auto', 'fastest', 'gguf', 'mlx', 'onnx', 'openvino', 'static'",
        ),
        ({"backend": "fake"}, "unknown backend 'fake'"),
        ({"task": "retrieval"}, "unknown task 'retrieval': all-MiniLM-L6-v2 has none"),
        ({"max_tokens": 257}, "max_tokens=257: all-MiniLM-L6-v2 takes 1 to 256"),
        ({"threads": 0}, "threads=0 must be at least 1"),
        ({"max_memory": "much"}, "'much' is not a size"),
        ({"max_memory": "100MB"}, "max_memory of 100 MB is too little: all-MiniLM-L6-v2 at onnx:int8 needs about"),
        ({"revision": "v1"}, "has no meaning for the local path"),
    ],
)
def test_wrong_arguments_of_embedder(converted: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Embedder(converted, **options)


def test_a_memory_limit_makes_batches_smaller(converted: Path) -> None:
    repo = read_folder(converted)
    (weights,) = (one for one in repo.spec.weights if one.level == "int8")
    limit = memory_plan(repo, weights, None, 512).total
    with Embedder(f"{converted}:int8", max_memory=limit) as small, Embedder(f"{converted}:int8") as large:
        tokens = [int(model.explain().rpartition("batches of up to ")[2].split()[0]) for model in (small, large)]
    assert tokens == [512, 1024]


def test_a_folder_of_an_adapter_alone_says_how_to_merge_it(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "user/base"}))
    message = rf"holds an adapter and not its base, 'user/base': .*edge-embed convert BASE --adapter {tmp_path}"
    with pytest.raises(UnsupportedModelError, match=message):
        read_folder(tmp_path)
