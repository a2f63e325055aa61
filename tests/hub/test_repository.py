"""Repositories on a hub: the real hub client, in processes of their own, against a local server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import onnx
import pytest

from edge_embed import ModelNotFoundError, ModelSpec
from edge_embed.spec.weights import File, Weights

from support.hub_server import CHECKPOINT, GRAPHS, METADATA, OTHERS, Client, HubServer, Shell


def own_layout() -> dict[str, str]:
    """Return a repository as the converter makes it, at two levels."""
    files = {"onnx/model.onnx": "graph" * 10, "onnx/model.onnx_data": "float" * 400}
    small = {"onnx/model_int8.onnx": "tiny" * 10, "onnx/model_int8.onnx_data": "data" * 100}
    weights = [
        Weights(format="onnx", level=level, files=tuple(File(path=path, size=len(text)) for path, text in part.items()))
        for level, part in (("float32", files), ("int8", small))
    ]
    spec = ModelSpec(
        name="own", architecture="bert", dim=16, max_tokens=64, pooling="mean", normalize=True, weights=tuple(weights)
    )
    return {"edge_embed.json": spec.to_json(), "tokenizer.json": "{}", "SHA256SUMS": "", **files, **small}


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_needed_is_fetched(server: HubServer, client: Client, tmp_path: Path) -> None:
    server.push("user/graphs", GRAPHS)
    folder = client.resolve("user/graphs", tmp_path)
    assert names_in(folder) == {*METADATA, "onnx/model.onnx", "onnx/model.onnx_data"}
    assert (folder / "onnx/model.onnx_data").read_text() == GRAPHS["onnx/model.onnx_data"]
    assert server.sent[-2:] == ["onnx/model.onnx_data", "onnx/model.onnx"]  # what is opened comes last
    assert set(server.sent[:-2]) == set(METADATA)
    assert tmp_path in folder.parents
    assert client.levels == ["onnx:float32"]


def test_a_model_in_the_folder_of_its_one_module(server: HubServer, client: Client, tmp_path: Path) -> None:
    """As sentence-transformers/clip-ViT-B-32 has it."""
    small = {"config.json": '{"model_type": "clip"}', "tokenizer.json": "{}", "preprocessor_config.json": "{}"}
    inner = {f"0_CLIPModel/{name}": text for name, text in {**small, **OTHERS, "model.safetensors": "weights"}.items()}
    top = {"modules.json": '[{"type": "m.CLIPModel", "path": "0_CLIPModel"}]', "README.md": "# CLIP"}
    server.push("user/clip", top | inner)
    folder = client.resolve("user/clip", tmp_path)
    assert folder.name == "0_CLIPModel"
    assert names_in(folder) == {*small, "model.safetensors"}
    assert client.levels == ["model.safetensors"]
    server.forget()
    assert client.resolve("user/clip", tmp_path) == folder
    assert not server.sent


def test_data_that_only_the_graph_names_is_fetched_after_it(server: HubServer, client: Client, tmp_path: Path) -> None:
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4], np.ones(4, "f4").tobytes(), raw=True)
    onnx.external_data_helper.set_external_data(weight, "parts/weights.bin", 0, 16)
    weight.ClearField("raw_data")
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    graph = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [], [weight])).SerializeToString()
    data = {"onnx/parts/weights.bin": "1234" * 4, "onnx/parts/others.bin": "5678"}
    server.push("user/odd", METADATA | {"onnx/model.onnx": graph} | data)
    folder = client.resolve("user/odd", tmp_path)
    assert names_in(folder) == {*METADATA, "onnx/model.onnx", "onnx/parts/weights.bin"}
    assert server.sent[-2:] == ["onnx/model.onnx", "onnx/parts/weights.bin"]


def test_a_checkpoint_is_fetched_where_there_is_no_graph(server: HubServer, client: Client, tmp_path: Path) -> None:
    server.push("user/checkpoint", CHECKPOINT)
    assert names_in(client.resolve("user/checkpoint:int8", tmp_path)) == {*METADATA, "model.safetensors"}
    assert client.levels == ["model.safetensors"]
    shards = {f"model-0000{n}-of-00002.safetensors": "part" for n in (1, 2)}
    server.push("user/shards", METADATA | OTHERS | shards | {"model.safetensors.index.json": "{}"})
    assert names_in(client.resolve("user/shards", tmp_path)) == {*METADATA, *shards, "model.safetensors.index.json"}


def quantised(folder: Path, level: str) -> bytes:
    """Return a GGUF file that says how to pool, with one tensor."""
    writer = gguf.GGUFWriter(folder / "made.gguf", "qwen3")
    writer.add_embedding_length(64)
    writer.add_context_length(512)
    writer.add_pooling_type(gguf.PoolingType.LAST)
    writer.add_name(level)
    writer.add_tensor("token_embd.weight", np.ones((200, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (folder / "made.gguf").read_bytes()


def test_of_gguf_files_in_sub_folders_one_level_is_fetched(server: HubServer, client: Client, tmp_path: Path) -> None:
    """Of a split one every part; of several models nothing, and it is said before anything is fetched."""
    parts = {f"F16/m-F16-0000{n}-of-00002.gguf": quantised(tmp_path, f"F16, {n}") for n in (1, 2)}
    files = {"README.md": "", "Q8_0/m-Q8_0.gguf": quantised(tmp_path, "Q8_0"), **parts}
    server.push("user/sub-GGUF", files)
    assert names_in(client.resolve("user/sub-GGUF:Q8_0", tmp_path)) == {"README.md", "Q8_0/m-Q8_0.gguf"}
    assert client.levels == ["gguf:Q8_0"]
    server.forget()
    assert names_in(client.resolve("user/sub-GGUF:Q8_0", tmp_path, offline=True)) == {"README.md", "Q8_0/m-Q8_0.gguf"}
    assert server.asked == []
    assert names_in(client.resolve("user/sub-GGUF:F16", tmp_path)) == {*files}
    server.push("user/many-GGUF", files | {"other/n-Q8_0.gguf": "x" * 1000})
    server.forget()
    with pytest.raises(ModelNotFoundError, match="user/many-GGUF has no weights at level 'Q8_0' that can be used"):
        client.resolve("user/many-GGUF:Q8_0", tmp_path)
    assert server.sent == []


def test_a_level_is_fetched_alone(server: HubServer, client: Client, tmp_path: Path) -> None:
    server.push("user/own", own_layout())
    small = {"edge_embed.json", "tokenizer.json", "onnx/model_int8.onnx", "onnx/model_int8.onnx_data"}
    assert names_in(client.resolve("user/own:int8", tmp_path)) == small
    assert server.sent[-1] == "onnx/model_int8.onnx"
    assert client.levels == ["onnx:int8"]
    with pytest.raises(
        ModelNotFoundError, match=r"user/own has no weights at level 'int4' .* it has .*'onnx/model_int8"
    ):
        client.resolve("user/own:int4", tmp_path)


@pytest.mark.parametrize("files", [GRAPHS, own_layout()], ids=["sentence-transformers", "own"])
def test_what_is_loaded_does_not_depend_on_the_cache(
    files: dict[str, str], server: HubServer, client: Client, tmp_path: Path
) -> None:
    """Fetching one level first does not make it the answer when no level is named."""
    server.push("user/levels", files)
    assert not {"onnx/model.onnx"} & names_in(client.resolve("user/levels:int8", tmp_path))
    server.forget()
    assert {"onnx/model.onnx", "onnx/model.onnx_data"} <= names_in(client.resolve("user/levels", tmp_path))
    assert server.sent == ["onnx/model.onnx_data", "onnx/model.onnx"]  # and nothing twice


@pytest.mark.parametrize("files", [CHECKPOINT, GRAPHS, own_layout()], ids=["checkpoint", "graphs", "own"])
def test_a_cached_model_never_touches_the_network(
    files: dict[str, str], server: HubServer, client: Client, tmp_path: Path
) -> None:
    commit = server.push("user/cached", files)
    folder = client.resolve("user/cached", tmp_path)
    server.forget()
    assert client.resolve("user/cached", tmp_path) == folder
    assert client.resolve("user/cached", tmp_path, offline=True) == folder
    assert client.resolve("user/cached", tmp_path, revision="main") == folder
    assert client.resolve(f"user/cached@{commit}", tmp_path) == folder
    assert server.asked == []


def test_the_hubs_variables_are_honoured(server: HubServer, tmp_path: Path) -> None:
    """In new processes: HF_HUB_CACHE, cache_dir before it, HF_HUB_OFFLINE, offline=False before that."""
    server.push("user/variables", CHECKPOINT)
    cache = tmp_path / "cache"
    with Client(server, tmp_path, HF_HUB_CACHE=str(cache), HOME=str(tmp_path)) as first:
        folder = first.resolve("user/variables")
        assert cache in folder.parents
        assert tmp_path / "other" in first.resolve("user/variables", Path("~/other")).parents
    server.forget()
    with Client(server, tmp_path, HF_HUB_CACHE=str(cache), HF_HUB_OFFLINE="1", HOME=str(tmp_path)) as second:
        assert second.resolve("user/variables") == folder
        assert tmp_path / "other" in second.resolve("user/variables", Path("~/other")).parents
        with pytest.raises(
            ModelNotFoundError, match="user/variables is not complete in the cache, and offline mode is on"
        ):
            second.resolve("user/variables", tmp_path / "cold")
        with pytest.raises(ModelNotFoundError, match=r"could not be fetched from the hub: .*HF_HUB_OFFLINE"):
            second.resolve("user/variables", tmp_path / "cold", offline=False)
    assert server.asked == []


def test_offline_fails_at_once_without_a_request(server: HubServer, client: Client, tmp_path: Path) -> None:
    server.push("user/offline", GRAPHS)
    with pytest.raises(
        ModelNotFoundError, match="user/offline is not complete in the cache, and offline mode is on: fetch"
    ):
        client.resolve("user/offline", tmp_path, offline=True)
    assert server.asked == []
    client.resolve("user/offline:int8", tmp_path)
    server.forget()
    with pytest.raises(ModelNotFoundError, match="user/offline is not complete in the cache"):
        client.resolve("user/offline", tmp_path, offline=True)  # another level
    assert server.asked == []


def test_a_revision_is_a_branch_a_tag_or_a_commit(server: HubServer, client: Client, tmp_path: Path) -> None:
    old = server.push("user/revisions", CHECKPOINT, "refs/pr/1")
    new = server.push("user/revisions", CHECKPOINT | {"model.safetensors": "retrained"})
    assert client.resolve("user/revisions", tmp_path).name == new
    assert client.resolve("user/revisions@refs/pr/1", tmp_path).name == old
    assert client.resolve("user/revisions", tmp_path, revision=old).name == old
    server.forget()
    assert client.resolve("user/revisions@refs/pr/1", tmp_path).name == old
    assert (client.resolve("user/revisions", tmp_path) / "model.safetensors").read_text() == "retrained"
    assert server.asked == []
    newest = server.push("user/revisions", CHECKPOINT | {"model.safetensors": "again"})
    assert client.resolve("user/revisions", tmp_path).name == new  # cached; a branch that moved is not noticed
    assert client.resolve(f"user/revisions@{newest}", tmp_path).name == newest


def test_what_another_program_left_in_the_cache_is_completed(server: HubServer, client: Client, tmp_path: Path) -> None:
    """Other loaders fetch the weights, and none of the files that say how to pool."""
    server.push("user/shared", CHECKPOINT)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        client.download("user/shared", name, tmp_path)
    with pytest.raises(ModelNotFoundError, match="not complete in the cache, and offline mode is on"):
        client.resolve("user/shared", tmp_path, offline=True)
    server.forget()
    assert names_in(client.resolve("user/shared", tmp_path)) == {*METADATA, "model.safetensors"}
    assert set(server.sent) == {"1_Pooling/config.json", "README.md", "modules.json"}


def test_a_cache_filled_by_another_program_works_without_the_hub(
    server: HubServer, client: Client, tmp_path: Path
) -> None:
    server.push("user/filled", CHECKPOINT)
    for name in ("config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "model.safetensors"):
        folder = client.download("user/filled", name, tmp_path).parent
    folder = folder.parent if folder.name == "1_Pooling" else folder
    server.forget()
    assert client.resolve("user/filled", tmp_path, offline=True) == folder
    assert server.asked == []
    server.down = "hang up"
    assert client.resolve("user/filled", tmp_path) == folder


def test_a_cache_that_cannot_be_written_is_named(server: HubServer, client: Client, tmp_path: Path) -> None:
    server.push("user/unwritable", CHECKPOINT)
    (tmp_path / "file").touch()
    with pytest.raises(ModelNotFoundError, match=f"could not be fetched from the hub: .*{tmp_path}/file"):
        client.resolve("user/unwritable", tmp_path / "file")


def test_a_damaged_note_is_made_again(server: HubServer, client: Client, tmp_path: Path) -> None:
    server.push("user/damaged", CHECKPOINT)
    folder = client.resolve("user/damaged", tmp_path)
    note = folder.parents[1] / "edge_embed" / f"{folder.name}.json"
    note.write_text("[")
    assert client.resolve("user/damaged", tmp_path) == folder
    assert json.loads(note.read_text()).keys() == CHECKPOINT.keys()
    shutil.rmtree(note.parent)
    assert client.resolve("user/damaged", tmp_path, offline=True) == folder


def test_a_note_that_cannot_be_kept_is_no_error(server: HubServer, client: Client, tmp_path: Path) -> None:
    server.push("user/unnoted", CHECKPOINT)
    (tmp_path / "models--user--unnoted").mkdir()
    (tmp_path / "models--user--unnoted" / "edge_embed").touch()
    folder = client.resolve("user/unnoted", tmp_path)
    assert names_in(folder) == {*METADATA, "model.safetensors"}
    assert client.resolve("user/unnoted", tmp_path) == folder


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "user/absent",
            "user/absent is no local folder, and not on the hub, or private: check the name, or set HF_TOKEN",
        ),
        ("user/gated", "user/gated is gated: accept its terms on the hub, then set HF_TOKEN"),
        ("user/there@v9", "user/there has no revision 'v9': give a branch, tag or commit of it"),
        ("user/dashes--", "user/dashes-- is no local folder, and cannot be a repository: "),
        ("user/data", "user/data has no weights that can be used; beside small files it has 'data.csv'"),
        (
            "user/pickled",
            "user/pickled has no weights that can be used; beside small files it has .*'pytorch_model.bin'",
        ),
    ],
)
def test_a_refusal_names_the_remedy(
    model: str, message: str, server: HubServer, client: Client, tmp_path: Path
) -> None:
    server.push("user/gated", CHECKPOINT)
    server.gated.add("user/gated")
    server.push("user/there", CHECKPOINT)
    server.push("user/data", {"README.md": "", "data.csv": ""})
    server.push("user/pickled", METADATA | OTHERS)
    with pytest.raises(ModelNotFoundError, match=f"^{message}"):
        client.resolve(model, tmp_path)


@pytest.mark.parametrize(("down", "problem"), [("500", ".*500 .*"), ("hang up", ".*[Dd]isconnected")])
def test_a_hub_that_is_down_is_an_error_like_another(
    down: str, problem: str, server: HubServer, client: Client, tmp_path: Path
) -> None:
    server.push("user/later", CHECKPOINT)
    server.down = down  # type: ignore[assignment]
    with pytest.raises(
        ModelNotFoundError, match=f"user/later could not be fetched from the hub: {problem}.*; try again"
    ):
        client.resolve("user/later", tmp_path)
    server.down = ""
    assert client.resolve("user/later", tmp_path).is_dir()


def test_nobody_listening_is_an_error_like_another(tmp_path: Path) -> None:
    server = HubServer()
    server.server_close()
    with (
        Client(server, tmp_path) as alone,
        pytest.raises(ModelNotFoundError, match=r"user/nobody could not be fetched from the hub: .*; try again"),
    ):
        alone.resolve("user/nobody")


def test_an_error_of_the_hub_is_told_without_the_clients_own(server: HubServer, tmp_path: Path) -> None:
    """A refused connection took 105 lines, of which 71 were of the client and its HTTP library."""
    server.push("user/down", CHECKPOINT)
    server.down = "hang up"
    code = "from edge_embed import Embedder\nimport traceback\ntry:\n    Embedder('user/down')\nexcept Exception:"
    told = Shell(server, tmp_path).run(f"{code}\n    print(traceback.format_exc())")
    assert told.splitlines()[-1].startswith("edge_embed.errors.ModelNotFoundError: user/down could not be fetched from")
    assert "site-packages" not in told
