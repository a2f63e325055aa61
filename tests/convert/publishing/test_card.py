"""The model card: what a hub files it by, and snippets that run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edge_embed_convert import convert
from edge_embed_convert.publishing.card import languages

from support import tiny

PYTHON = re.compile(r"```python\n(.*?)```", re.S)


def run_ours(out: Path, card: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Run the snippet for our own API as the card says it, beside the folder."""
    monkeypatch.chdir(out)
    (code,) = (code for code in PYTHON.findall(card) if "edge_embed" in code)
    names: dict[str, object] = {}
    exec(code, names)
    return names


def test_a_card_of_a_plain_model(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "README.md").write_text("---\nlanguage: [en, no]\nlicense: mit\n---\n# Tiny\n")
    (source / "LICENSE").write_text("MIT")
    (folder,) = convert(source, tmp_path / "out", ["onnx:float32"], spec={"source": "user/tiny-bert"})
    card = (folder / "README.md").read_text()
    head = "license: mit\nbase_model: user/tiny-bert\nbase_model_relation: quantized\nlanguage:\n- 'en'\n- 'no'\n"
    assert card.startswith(
        f"---\n{head}library_name: edge_embed\npipeline_tag: feature-extraction\ntags:\n- edge_embed\n"
    )
    assert "- sentence-similarity\n- bert\n- onnx\n" in card
    assert "Licence: [mit](LICENSE).\n" in card
    assert "path/to" not in card
    assert 'model = Embedder("./tiny-bert:float32")' in card
    assert 'queries = model.encode(["What is' in card
    model_kwargs = 'backend="onnx", model_kwargs={"file_name": "onnx/model.onnx"}'
    assert f'SentenceTransformer("./tiny-bert", {model_kwargs})' in card
    assert '"feature-extraction", "tiny-bert", { dtype: "fp32", use_external_data_format: true });' in card
    assert 'pooling: "mean", normalize: true' in card
    assert re.search(r"\| `onnx:float32` \| `onnx/model.onnx` \| 0\.\d \| 1\.00000 \(0\.999999\) \|", card)
    assert "- sentence-transformers\n- transformers.js\n---\n" in card
    assert "OpenVINO" not in card
    assert "fastembed" not in card
    assert run_ours(tmp_path / "out", card, monkeypatch)["queries"].shape == (1, 32)  # type: ignore[attr-defined]


def test_a_card_of_a_model_with_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "tiny-qwen"
    tiny.make("qwen3", base, "lasttoken")
    prompts = {"query": "it's: {text}", "document": "d: {text}"}
    (base / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {name: template.removesuffix("{text}") for name, template in prompts.items()}})
    )
    onnx, gguf = convert(base, tmp_path / "out", ["onnx:float32", "gguf:F16"])
    cards = {folder: (folder / "README.md").read_text() for folder in (onnx, gguf)}
    for card in cards.values():
        assert 'queries = model.encode_query(["' in card
        assert 'documents = model.encode_document(["' in card
        assert "base_model" not in card
        assert "transformers.js" not in card
        assert "- retrieval\n- qwen3\n" in card
        run_ours(tmp_path / "out", card, monkeypatch)
    command = (
        "llama-embedding -m 'tiny-qwen-GGUF/tiny-qwen-F16.gguf' --pooling last --embd-normalize 2 "
        "-p 'it'\\''s: What is knowledge distillation?'"
    )
    assert command in cards[gguf]
    assert "sentence-transformers[onnx]" not in cards[gguf]
    assert "ollama pull hf.co/user/tiny-qwen-GGUF:F16" in cards[gguf]
    assert 'Llama("./tiny-qwen-GGUF/tiny-qwen-F16.gguf", embedding=True, pooling_type=3' in cards[gguf]
    assert "sentence-transformers[onnx]" in cards[onnx]


def test_a_card_of_a_portable_folder(tmp_path: Path) -> None:
    base = tmp_path / "tiny-qwen"
    tiny.make("qwen3", base, "lasttoken")
    (base / "tokenizer_config.json").write_text("{}")
    (folder,) = convert(
        base, tmp_path / "out", ["onnx:int8"], portable=True, spec={"prompts": {"query": 'a "q": {text}'}}
    )
    card = (folder / "README.md").read_text()
    assert 'model_kwargs={"file_name": "onnx/model_quantized.onnx"}' in card
    assert '{ dtype: "q8", use_external_data_format: true }' in card
    assert 'pooling: "last_token", normalize: true' in card
    assert 'model_file="onnx/model_quantized.onnx", output_name="sentence_embedding"' in card
    assert 'openvino.compile_model("./tiny-qwen/onnx/model_quantized.onnx", "CPU")' in card
    assert r'model.embed(["a \"q\": What is knowledge distillation?"])' in card


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("---\nlanguage: en\n---\n", ["en"]),
        ('---\nlicense: mit\nlanguage:\n- en\n  - zh-Hant\n- "de"\ntags:\n- fr\n---\n', ["en", "zh-Hant", "de"]),
        ("---\nlanguage:\n- en: x\n- ]\x1b[2J\n---\n", []),
        ("---\nlicense: mit\n---\nlanguage: en\n", []),
        ("language: en\n", []),
        ("", []),
    ],
)
def test_languages_of_the_source(tmp_path: Path, text: str, codes: list[str]) -> None:
    (tmp_path / "README.md").write_text(text)
    assert languages(tmp_path / "README.md") == codes
    assert languages(tmp_path / "absent.md") == []
