"""Plans and choices for repositories whose weights were never downloaded: headers alone come, whatever the format."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import onnx
import pytest

from edge_embed import CorruptModelError
from edge_embed.formats.gguf import read_header
from edge_embed.formats.onnx import look_beside_weights, read_graph
from edge_embed.loading.preview import _Window
from edge_embed_convert.checkpoint.source import Tensors

from support import gguf_files
from support.hub_server import HubServer, Shell

EXACT_IS_FASTEST = """
from edge_embed import Embedder
from edge_embed.backends.onnx import FACTS
for levels in FACTS.speeds.values():
    levels |= {"float32": (9.0, 9.0), "int8": (1.0, 1.0)}
with Embedder("user/own", max_memory="120MB", max_tokens=64, threads=1) as model:
    print(model.explain(), len(model.encode("a")))
"""


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folders(minilm: Path, converted: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return all-MiniLM-L6-v2 as every kind of repository."""
    made = tmp_path_factory.mktemp("repositories")
    files = [*minilm.glob("*.json"), minilm / "1_Pooling"]
    config, stored = json.loads((minilm / "config.json").read_text()), Tensors([minilm / "model.safetensors"])
    tensors = {name: stored[name] for name in stored if name != "embeddings.position_ids"}
    own = Path(shutil.copytree(converted, made / "own"))
    (made / "quantised").mkdir()
    for level in ("F16", "Q8_0"):
        kind = gguf.GGMLQuantizationType[level]
        gguf_files.write(made / "quantised" / f"all-MiniLM-L6-v2-{level}.gguf", config, tensors, kind=kind)
    (made / "quantised" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (made / "graphs").mkdir()
    for path in files:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, made / "graphs" / path.name)
    model = onnx.load(converted / "onnx" / "model.onnx")  # its weights inside, as others export it
    (made / "graphs" / "onnx").mkdir()
    onnx.save(model, made / "graphs" / "onnx" / "model.onnx")
    shutil.copytree(minilm, made / "checkpoint")
    return {name: made / name for name in ("own", "quantised", "graphs", "checkpoint")} | {"own": own}


@pytest.fixture(scope="module")
def _server(folders: dict[str, Path]) -> Iterator[HubServer]:
    with HubServer() as server:
        for name, folder in folders.items():
            server.push(f"user/{name}", files_of(folder))
        yield server


@pytest.fixture
def server(_server: HubServer) -> HubServer:
    _server.forget()
    _server.faults.clear()
    _server.tokens.clear()
    return _server


@pytest.fixture
def shell(server: HubServer, tmp_path: Path) -> Shell:
    return Shell(server, tmp_path)


@pytest.mark.parametrize("name", ["own", "quantised", "graphs", "checkpoint"])
def test_a_plan_needs_a_small_share_of_the_bytes(
    name: str, folders: dict[str, Path], server: HubServer, shell: Shell
) -> None:
    """0.1 % of our ONNX files, 2.9 % of GGUF files (their vocabulary), 0.4 % of a graph and 0.1 % of a checkpoint."""
    told = json.loads(shell("plan", f"user/{name}", "--max-tokens", "128", "--json"))
    share = server.bytes_sent / sum(map(len, files_of(folders[name]).values()))
    print(f"{name}: {share:.2%} of the bytes, {len(server.ranges)} requests")
    assert share < 0.03
    local = json.loads(shell("plan", str(folders[name]), "--max-tokens", "128", "--json"))
    assert told["candidates"] == local["candidates"]
    assert shell("list") == "no models in the caches: edge-embed pull user/repo"


def test_a_cached_model_is_planned_without_a_network(server: HubServer, shell: Shell) -> None:
    shell("pull", "user/own:int8")
    server.forget()
    told = json.loads(shell("plan", "user/own", "--json"))
    assert [row["candidate"] for row in told["candidates"]] == ["onnx:int8"]
    assert server.asked == []


def test_the_doctor_says_what_would_be_chosen(server: HubServer, shell: Shell) -> None:
    told = " ".join(shell("doctor", "user/quantised:Q8_0").split())
    assert "Of user/quantised:Q8_0, gguf:Q8_0 (named) would be loaded." in told
    assert server.bytes_sent < 4 << 20


def test_memory_decides_before_anything_large_is_fetched(server: HubServer, shell: Shell) -> None:
    """float32 would be the choice, and does not fit; afterwards the cache answers, without a network, too."""
    assert "weights: onnx:int8" in shell.run(EXACT_IS_FASTEST)
    assert "onnx/model_int8.onnx_data" in server.sent
    assert "onnx/model.onnx_data" not in server.sent
    server.forget()
    assert "weights: onnx:int8" in shell.run(EXACT_IS_FASTEST)
    assert server.asked == []
    assert "weights: onnx:int8" in shell.run(EXACT_IS_FASTEST, HF_HUB_OFFLINE="1")


def test_too_little_memory_is_said_before_the_download(server: HubServer, shell: Shell) -> None:
    code = "from edge_embed import Embedder, InputError\ntry:\n    Embedder('user/own', max_memory='20MB')\n"
    assert "max_memory of 20 MB is too little" in shell.run(code + "except InputError as error:\n    print(error)")
    assert not [name for name in server.sent if name.endswith("_data")]


def test_a_hub_that_ignores_ranges_is_explained(server: HubServer, shell: Shell) -> None:
    server.faults["onnx/model.onnx"] = ["whole"] * 9
    told = shell("plan", "user/graphs", fails=True)
    assert (
        "user/graphs: the hub ignores ranges, so that onnx/model.onnx can only be read whole: edge-embed pull" in told
    )
    server.faults["model.safetensors"] = ["whole"] * 9  # the header lies at the beginning: the rest is cut off
    assert "onnx:int8" in shell("plan", "user/checkpoint")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("403", r"user/quantised was refused by the hub (403)"),
        ("html", "71 bytes came instead of"),
        ("wrong", "is not a GGUF file"),
    ],
)
def test_what_goes_wrong_is_explained(fault: str, message: str, server: HubServer, shell: Shell) -> None:
    server.faults["all-MiniLM-L6-v2-Q8_0.gguf"] = [fault] * 20  # type: ignore[list-item]
    assert message in shell("plan", "user/quantised", fails=True)


def test_a_busy_hub_is_asked_again(server: HubServer, shell: Shell) -> None:
    server.faults["model.safetensors"] = ["503"]
    assert "onnx:float32" in shell("plan", "user/checkpoint")


def test_offline_nothing_is_asked(server: HubServer, shell: Shell) -> None:
    shell.environment["HF_HUB_OFFLINE"] = "1"
    assert "offline mode is on" in shell("plan", "user/own", fails=True)
    assert server.asked == []


def test_the_token_is_not_told_to_the_storage(server: HubServer, shell: Shell) -> None:
    shell.environment["HF_TOKEN"] = "hf_secret"
    shell("plan", "user/graphs")
    assert len(server.ranges) > 10
    assert server.tokens == []


class Remote:
    """Bytes that count how many of them were read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.count, self.calls = data, 0, 0

    def __call__(self, start: int, stop: int) -> bytes:
        self.count, self.calls = self.count + stop - start, self.calls + 1
        return self.data[start:stop]


def test_what_is_copied_of_a_graph_says_all_but_the_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    whole = folders["graphs"] / "onnx" / "model.onnx"
    remote = Remote(whole.read_bytes())
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(len(remote.data))
        look_beside_weights(_Window(remote, file, len(remote.data)))
    assert read_graph(tmp_path / "model.onnx") == read_graph(whole)
    assert remote.count < len(remote.data) / 50
    assert remote.calls < 150


def test_damaged_graphs_end_in_an_error_or_a_graph(folders: dict[str, Path], tmp_path: Path) -> None:
    data, draw, refused = (folders["own"] / "onnx" / "model_int8.onnx").read_bytes(), random.Random(0), 0
    for _ in range(100):
        spoilt = bytearray(data[: draw.randrange(len(data))])
        spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
        with (tmp_path / "a.onnx").open("wb") as file:
            file.truncate(len(spoilt))
            try:
                look_beside_weights(_Window(Remote(bytes(spoilt)), file, len(spoilt)))
            except (ValueError, IndexError):
                refused += 1
        try:
            read_graph(tmp_path / "a.onnx")
        except CorruptModelError:
            continue
    assert refused > 50


def test_a_long_vocabulary_is_read_to_its_end(tmp_path: Path) -> None:
    """3 MB of words: the first megabyte does not hold them."""
    from edge_embed.loading.preview import _copy_gguf

    writer = gguf.GGUFWriter(tmp_path / "whole.gguf", "bert")
    writer.add_token_list([f"a rather long word, number {n}" for n in range(80_000)])
    writer.add_tensor("token_embd.weight", np.zeros((1000, 1000), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    remote = Remote((tmp_path / "whole.gguf").read_bytes())
    with (tmp_path / "copy.gguf").open("w+b") as file:
        file.truncate(len(remote.data))
        _copy_gguf(remote, file, tmp_path / "copy.gguf", len(remote.data))
    assert read_header(tmp_path / "copy.gguf") == read_header(tmp_path / "whole.gguf")
    assert remote.count < 5 << 20
