"""A folder that holds a LoRA adapter alone: opened as the base that it names with the adapter merged in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertModel

from edge_embed import Embedder, InputError, ModelNotFoundError, UnsupportedModelError
from edge_embed.loading.conversions import conversions
from edge_embed_convert import convert

from support import letters, tiny
from support.hub_server import HubServer, Shell
from support.lora import edit_config
from support.marks import PEFT

pytestmark = PEFT
TEXTS = ["a text", "", "and another one, which is longer"]


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Train nothing, but save a random adapter of the tiny BERT, and what PEFT merges -> their folders."""
    folder = tmp_path_factory.mktemp("lora")
    torch.manual_seed(5)
    model = get_peft_model(
        BertModel.from_pretrained(checkpoint), LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value", "dense"])
    )
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder / "adapter")
    shutil.copytree(checkpoint, folder / "merged")
    model.merge_and_unload().save_pretrained(folder / "merged")
    return folder / "adapter", folder / "merged"


@pytest.fixture
def adapter(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """Return a copy of the adapter's folder, to be changed."""
    return Path(shutil.copytree(made[0], tmp_path / "my-lora"))


def vectors(place: str | Path, **options: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    with Embedder(f"{place}:float32", **options) as model:
        return model.encode(TEXTS)


def test_it_opens_as_what_peft_merges(made: tuple[Path, Path], adapter: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Measured: 2e-7."""
    with Embedder(f"{adapter}:float32", cache_dir=tmp_path / "cache") as model:
        assert model.spec.name == "my-lora"
        assert f", merged into {checkpoint}, " in model.explain()
        found = model.encode(TEXTS)
    np.testing.assert_allclose(found, vectors(made[1]), atol=2e-6)
    assert np.abs(found - vectors(checkpoint)).max() > 0.01
    (kept,) = conversions(tmp_path / "cache")
    assert kept.source == str(adapter)
    edit_config(adapter, lora_alpha=1)
    assert np.abs(vectors(adapter, cache_dir=tmp_path / "cache") - found).max() > 0.01


def test_what_sentence_transformers_saves_beside_it_wins(adapter: Path, checkpoint: Path, tmp_path: Path) -> None:
    tiny_config = json.dumps({"hidden_size": 32})
    (adapter / "config.json").write_text(tiny_config)  # for the helper, which asks for the width
    tiny.describe(adapter, "cls_token")
    (adapter / "config.json").unlink()
    prompts = {"prompts": {"query": "find: ", "document": ""}, "default_prompt_name": None}
    (adapter / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    letters.tokenizer().save(str(adapter / "tokenizer.json"))
    with Embedder(f"{adapter}:float32") as model:
        assert model.spec.pooling == "first"
        assert model.spec.prompts == {"query": "find: {text}", "document": "{text}"}
        found = model.encode_query("a")
    with Embedder(f"{adapter}:float32", pooling="mean") as model:
        assert model.spec.pooling == "mean"
    (other,) = convert(checkpoint, tmp_path / "out", ["onnx:float32"], adapter=adapter)  # the same road by hand
    with Embedder(other) as model:
        assert model.spec.max_tokens == 64
        np.testing.assert_allclose(model.encode_query("a"), found, atol=1e-6)


def test_a_vocabulary_of_other_words_is_refused(adapter: Path) -> None:
    letters.tokenizer().save(str(adapter / "tokenizer.json"))
    values = json.loads((adapter / "tokenizer.json").read_text())
    token = {"id": 500, "content": "[NEW]", "special": True}
    values["added_tokens"] = [token | dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)]
    (adapter / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(UnsupportedModelError, match=r"trained with words that its base does not know; merge with PEFT"):
        Embedder(adapter)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("/there/is/none", "base '/there/is/none' cannot be opened: /there/is/none does not exist"),
        ("user/absent", "base 'user/absent' cannot be opened: "),
        ("", "base '' cannot be opened: '' lacks a place"),
        (None, "base '' cannot be opened: "),
        ("model:int9", "base 'model:int9' cannot be opened: unknown level 'int9'"),
        (".", "base '.' cannot be opened: "),
    ],
)
def test_a_base_that_cannot_be_opened(base: str | None, message: str, adapter: Path) -> None:
    edit_config(adapter, base_model_name_or_path=base)
    with pytest.raises(ModelNotFoundError) as caught:
        Embedder(adapter, offline=True)
    assert f"{adapter} holds an adapter, whose {message}" in str(caught.value)
    assert f"merge them by edge-embed convert BASE --adapter {adapter} --out" in str(caught.value)


def test_a_base_that_is_an_adapter_itself_or_has_no_checkpoint(adapter: Path, checkpoint: Path, tmp_path: Path) -> None:
    edit_config(adapter, base_model_name_or_path=str(adapter))
    with pytest.raises(ModelNotFoundError, match="holds an adapter and not its base"):
        Embedder(adapter)
    (made,) = convert(checkpoint, tmp_path, ["onnx:int8"])
    edit_config(adapter, base_model_name_or_path=str(made))
    with pytest.raises(ModelNotFoundError, match=r"has no original weights, model\.safetensors; where the base lies"):
        Embedder(adapter)


def test_what_the_user_states_wrongly_stays_his_error(adapter: Path) -> None:
    with pytest.raises(InputError, match="dim"):
        Embedder(adapter, spec={"dim": 5})


def test_a_base_on_a_hub(made: tuple[Path, Path], adapter: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Of its family the very repository, at the revision that the adapter names; then from the cache."""
    edit_config(adapter, base_model_name_or_path="user/base", revision="v1")
    files = {
        path.relative_to(checkpoint).as_posix(): path.read_bytes() for path in checkpoint.rglob("*") if path.is_file()
    }
    code = f"""
from edge_embed import Embedder
with Embedder("{adapter}:float32") as model:
    print(model.encode("a text").tolist())
"""
    with HubServer() as server:
        server.push("user/base", files, "v1")
        server.push("user/base", {**files, "config.json": "{}"})
        shell = Shell(server, tmp_path)
        found = json.loads(shell.run(code))
        server.down = "500"
        assert json.loads(shell.run(code, HF_HUB_OFFLINE="1")) == found
    (kept,) = conversions(tmp_path / "own")
    assert kept.is_of(str(adapter), adapter, None)
    np.testing.assert_allclose(found, vectors(made[1])[0], atol=2e-6)
