"""GGUF files of models that take images: jina-clip-v1's text tower, Llama, and E5-V read among its tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from edge_embed import Embedder, InputError
from edge_embed.backends import Batch, ImageRows
from edge_embed.backends.gguf.backend import MIN_PREFIX, GgufBackend
from edge_embed.backends.gguf.context import Context
from edge_embed.backends.gguf.table import Table
from edge_embed.layouts.folder import read_folder
from edge_embed.spec.sample_image import sample_image
from edge_embed.spec.weights import image_part
from edge_embed_convert import convert
from edge_embed_convert.calibrate import calibrate
from edge_embed_convert.checkpoint.source import Source, open_source
from edge_embed_convert.conversion import write_parts
from edge_embed_convert.export import Export
from edge_embed_convert.gguf.file import entries, write_file
from edge_embed_convert.gguf.imatrix import importance
from edge_embed_convert.gguf.quantize import quantize
from edge_embed_convert.gguf.token_ids import check_ids

from support import jina_clip_reference as clip
from support import tiny, tiny_llava
from support.corpus import texts as corpus
from support.places import ROOT

CLOSE = 0.9999  # cosine of F16 to float32
LONG = 4096  # tokens
CLIP = clip.config_of({**clip.TINY_TEXT, "vocab_size": len(tiny.WORDS)}, clip.TINY_VISION)
Rows = NDArray[np.float32]


def cosine(a: Rows, b: Rows) -> float:
    """Return the least cosine of two arrays' rows."""
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(((a * b).sum(axis=-1) / norms).min())


def images(count: int) -> list[Image.Image]:
    """Return images of several proportions, so that they have different numbers of rows."""
    sizes = [(90, 60), (40, 70), (64, 64), (120, 30)]
    made = [Image.fromarray(sample_image(seed)) for seed in range(50, 50 + count)]
    return [image.resize(sizes[n % 4]) for n, image in enumerate(made)]


# jina-clip-v1


@pytest.fixture(scope="module")
def clip_model() -> clip.JinaClip:
    return clip.make(CLIP, 1.5)


@pytest.fixture(scope="module")
def clip_folder(clip_model: clip.JinaClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "jina-clip-v1"
    clip.publish(clip_model, CLIP, folder)
    return folder


def test_jina_clip_in_gguf_is_the_float32_graph(clip_folder: Path, tmp_path: Path) -> None:
    """Measured: texts 0.999998 at least, images 0.999996."""
    exact, made = convert(clip_folder, tmp_path, ["onnx:float32", "gguf:F16"])
    names = {path.relative_to(made).as_posix() for path in made.rglob("*.*")}
    assert {"jina-clip-v1-F16.gguf", "onnx/vision_model_fp16.onnx"} <= names
    assert not [name for name in names if "text_model" in name]
    with Embedder(f"{exact}:float32") as reference, Embedder(f"{made}:F16") as model:
        assert "weights: gguf:F16" in model.explain()
        some = [text[:200] for text in corpus(60)]
        assert cosine(model.encode(some), reference.encode(some)) >= CLOSE
        assert cosine(model.encode_image(images(4)), reference.encode_image(images(4))) >= CLOSE


def test_jina_clip_is_jina_bert_v2_at_every_level(clip_folder: Path, tmp_path: Path) -> None:
    source = open_source(read_folder(clip_folder))
    path, tokenizer = tmp_path / "x.gguf", clip_folder / "tokenizer.json"
    write_file(path, source, "F16", tokenizer)
    assert check_ids(path, tokenizer)[0] > 60
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.architecture"].contents() == "jina-bert-v2"
    assert reader.fields["jina-bert-v2.vocab_size"].contents() == len(tiny.WORDS)
    seen = importance(
        entries(source), calibrate(source.config, source.tensors, source.spec, tokenizer, ["a b c", "d e"])
    )
    matrices = {t.name for t in reader.tensors if t.name.startswith("blk.") and len(t.shape) == 2}
    assert seen.keys() == matrices
    np.testing.assert_array_equal(seen["blk.1.attn_q.weight"].square, seen["blk.1.attn_v.weight"].square)
    quantize(path, tmp_path / "y.gguf", "IQ2_M", {name: moments.square for name, moments in seen.items()})
    with_file = GgufBackend(tmp_path / "y.gguf", source.spec, 1)
    assert np.isfinite(with_file.forward(Batch([np.array([5, 9, 7], np.int32)]))[0]).all()
    with_file.close()


# Llama


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Source]:
    """Return a tiny Llama of transformers and its checkpoint, opened."""
    folder = tmp_path_factory.mktemp("llama") / "model"
    model = tiny.make("llama", folder, "lasttoken", max_position_embeddings=LONG)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LONG}))
    source = open_source(read_folder(folder))
    return model, replace(source, spec=replace(source.spec, attention="causal"))


@pytest.fixture(scope="module", params=["F32", "F16"])
def opened(
    request: pytest.FixtureRequest, llama: tuple[Any, Source], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GgufBackend]:
    source = llama[1]
    path = tmp_path_factory.mktemp("gguf") / f"{request.param}.gguf"
    write_file(path, source, request.param, source.folder / "tokenizer.json")
    backend = GgufBackend(path, source.spec, 2)
    yield backend
    backend.close()


def some_ids(*lengths: int) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(5)
    return [rng.integers(4, len(tiny.WORDS), length).astype(np.int32) for length in lengths]


def embedded(model: Any, ids: NDArray[np.int32], inserted: ImageRows | None) -> Rows:
    """Return the last row that transformers computes of ids with an image's rows among them."""
    with torch.no_grad():
        x = model.embed_tokens(torch.from_numpy(ids.astype(np.int64)))
        if inserted is not None:
            x[inserted.at : inserted.at + len(inserted.rows)] = torch.from_numpy(inserted.rows)
        row: Rows = model(inputs_embeds=x[None]).last_hidden_state[0, -1].numpy()
    return row


def with_rows(*shapes: tuple[int, int, int]) -> tuple[list[NDArray[np.int32]], list[ImageRows]]:
    """Make inputs of so many tokens, with so many rows from a place on."""
    rng = np.random.default_rng(6)
    inserted = [ImageRows(at, 0.3 * rng.standard_normal((rows, 32)).astype(np.float32)) for _, at, rows in shapes]
    return some_ids(*(length for length, _, _ in shapes)), inserted


def test_images_among_tokens_are_read_as_transformers_reads_them(opened: GgufBackend, llama: Any) -> None:
    """Measured: 0.999999 at least with F32, 0.999995 with F16; long ones go through attention with float16 keys."""
    ids, inserted = with_rows((20, 3, 5), (40, 0, 39), (120, 5, 80), (700, 5, 650), (3000, 5, 2980))
    texts = some_ids(9, 64, 300)
    found = opened.forward(Batch([*ids, *texts], image_rows=[*inserted, None, None, None]))
    for row, one, rows in zip(found, [*ids, *texts], [*inserted, None, None, None], strict=True):
        assert cosine(row[-1], embedded(llama[0], one, rows)) >= CLOSE, len(one)


def test_images_do_not_change_what_is_computed_beside_them(opened: GgufBackend) -> None:
    ids, inserted = with_rows((20, 3, 5), (400, 5, 380))
    texts = some_ids(9, 30)
    alone = [opened.forward(Batch([one], image_rows=[rows]))[0] for one, rows in zip(ids, inserted, strict=True)]
    plain = opened.forward(Batch(texts))
    order = [texts[0], ids[1], texts[1], ids[0], ids[1]]
    found = opened.forward(Batch(order, image_rows=[None, inserted[1], None, inserted[0], inserted[1]]))
    for row, expected in zip(found, [plain[0], alone[1], plain[1], alone[0], alone[1]], strict=True):
        np.testing.assert_array_equal(row, expected)


def test_rows_that_do_not_belong_are_refused(opened: GgufBackend) -> None:
    (ids,), (inserted,) = with_rows((20, 3, 5))
    for wrong in (ImageRows(16, inserted.rows), ImageRows(-1, inserted.rows), ImageRows(3, inserted.rows[:, :31])):
        with pytest.raises(InputError, match=r"input 1 of \(20, 32\) has an image's rows .* do not belong there"):
            opened.forward(Batch([ids, ids], image_rows=[inserted, wrong]))


def test_a_prompt_is_computed_once(opened: GgufBackend, llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix, other = some_ids(7, 7)
    tails = some_ids(3, 50, 1, 20, 90, 200, 400)
    texts = [np.concatenate([prefix, tail]) for tail in tails]
    calls: list[int] = []
    run = Context.run
    monkeypatch.setattr(
        Context,
        "run",
        lambda self, inputs, *args, **more: calls.append(len(inputs)) or run(self, inputs, *args, **more),
    )
    opened.forward(Batch([some_ids(250)[0]]))  # the context has its final size
    for _ in range(2):
        for rows, one in zip(opened.forward(Batch(texts, prefix_length=7)), texts, strict=True):
            assert cosine(rows[-1], embedded(llama[0], one, None)) >= CLOSE
    assert calls.count(7) == 1
    assert sum(calls) == 250 + 7 + 2 * (sum(map(len, tails)) + 7), "the text of 407 tokens goes alone, whole"
    opened.forward(Batch(texts[:1], prefix_length=MIN_PREFIX - 1))
    assert calls.count(MIN_PREFIX - 1) == 0, "too few to be worth it"
    reused = [opened.forward(Batch([one], prefix_length=7))[0] for one in texts]
    opened.forward(Batch([np.concatenate([other, tails[0]])], prefix_length=7))
    again = [opened.forward(Batch([one], prefix_length=7))[0] for one in texts]
    assert calls.count(7) == 4
    opened.forward(Batch(texts[:1]))
    again += [opened.forward(Batch([one], prefix_length=7))[0] for one in texts]
    for one, new in zip(reused * 2, again, strict=True):
        np.testing.assert_array_equal(one, new, "computed anew or kept, it is the same")


def test_what_needs_all_rows_shares_no_prompt(llama: tuple[Any, Source], tmp_path: Path) -> None:
    source = llama[1]
    write_file(tmp_path / "x.gguf", source, "F32", source.folder / "tokenizer.json")
    backend = GgufBackend(tmp_path / "x.gguf", replace(source.spec, pooling="mean"), 1)
    assert [len(rows) for rows in backend.forward(Batch(some_ids(9, 30), prefix_length=7))] == [9, 30]
    backend.close()


@pytest.mark.parametrize("level", ["F32", "F16", "BF16", "Q8_0", "Q4_K_M", "IQ4_NL", "Q2_K"])
def test_the_table_is_read_at_every_level(level: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = tiny.make("llama", folder, "lasttoken", hidden_size=256, head_dim=64)
    source = open_source(read_folder(folder))
    path = tmp_path / "x.gguf"
    write_file(path, source, level if level in ("F32", "BF16") else "F16", folder / "tokenizer.json")
    if level not in ("F32", "F16", "BF16"):
        path = tmp_path / "y.gguf"
        quantize(tmp_path / "x.gguf", path, level, None)
    tensor = next(t for t in gguf.GGUFReader(path).tensors if t.name == "token_embd.weight")
    ids = np.array([3, 60, 0, 3], np.int32)
    rows = Table(path)(ids)
    np.testing.assert_allclose(rows, gguf.dequantize(tensor.data, tensor.tensor_type)[ids], atol=1e-6)
    assert cosine(rows, model.embed_tokens.weight.detach().numpy()[ids]) >= (0.98 if level != "Q2_K" else 0.9)


# E5-V


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("llava") / "e5-v"
    return tiny_llava.make(folder), folder


@pytest.fixture(scope="module")
def joint(llava: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(llava[1], tmp_path_factory.mktemp("out"), ["gguf:F16"])[0]


def test_e5_v_in_gguf_is_transformers(llava: tuple[Any, Path], joint: Path) -> None:
    """Measured: texts, images and both together 0.999997 at least."""
    names = {path.relative_to(joint).as_posix() for path in joint.rglob("*.*")}
    assert {"e5-v-F16.gguf", "onnx/vision_model_fp16.onnx"} <= names
    with Embedder(f"{joint}:F16") as model:
        prompts, some = model.spec.prompts, images(4)
        for words in ("a cat", "two dogs that run after a ball, " * 6):
            expected = tiny_llava.vector(*llava, prompts["sentence"], words, None)
            assert cosine(model.encode(words), expected) >= CLOSE
        found = model.encode_image(some)
        composed = model.encode([{"image": image, "text": "in red"} for image in some])
        for n, image in enumerate(some):
            assert cosine(found[n], tiny_llava.vector(*llava, prompts["image"], "", image)) >= CLOSE
            assert cosine(composed[n], tiny_llava.vector(*llava, prompts["modified-image"], "in red", image)) >= CLOSE
        mixed = model.encode(["a cat", {"image": some[0]}, {"image": some[1], "text": "in red"}, "a dog"])
        np.testing.assert_allclose(mixed[1:3], [found[0], composed[1]], atol=1e-5)


def test_the_guides_snippet(joint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, image in zip(("shirt.jpg", "blouse.jpg"), images(2), strict=True):
        image.save(name)
    guide = (ROOT / "docs" / "guides" / "images.md").read_text("utf-8")
    (block,) = re.findall(r"```\n(from edge_embed import Embedder\n\nmodel = Embedder\(\"./e5-v.*?)```", guide, re.S)
    names: dict[str, Any] = {}
    exec(compile(block.replace("./e5-v-GGUF:Q4_K_M", f"{joint}:F16"), "images.md", "exec"), names)
    assert names["scores"].shape == (1, 2)


def test_the_image_part_is_no_finer_than_it_need_be(llava: tuple[Any, Path], tmp_path: Path) -> None:
    source = open_source(read_folder(llava[1]))
    found = {}
    for levels in (["Q4_K_M"], ["Q8_0", "Q4_K_M"]):
        export = Export(folder=tmp_path / levels[0], source=source, levels=levels)
        export.folder.mkdir()
        for one in (weights := write_parts("gguf", export)):
            if one.part == "text":
                part = image_part(weights, one)
                assert part is not None
                found[levels[0], one.level] = part.level
    assert found == {("Q4_K_M", "Q4_K_M"): "int8", ("Q8_0", "Q8_0"): "float16", ("Q8_0", "Q4_K_M"): "int8"}
    names = sorted(path.name for path in (tmp_path / "Q4_K_M" / "onnx").iterdir())
    assert names == ["vision_model_int8.onnx", "vision_model_int8.onnx_data"]


def test_the_language_model_is_a_llama_like_any_other(llava: tuple[Any, Path], joint: Path) -> None:
    reader = gguf.GGUFReader(joint / "e5-v-F16.gguf")
    said = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    expected = {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.rope.freq_base": 5e5,
        "llama.attention.head_count_kv": 2,
        "llama.pooling_type": 3,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
    }
    assert {key: said[key] for key in expected} == expected
    rows = llava[0].config.text_config.vocab_size
    assert (
        len(said["tokenizer.ggml.tokens"]) == said["llama.vocab_size"] == rows > tiny_llava.tokenizer().get_vocab_size()
    )
    names = {tensor.name for tensor in reader.tensors}
    assert "output.weight" not in names
    assert not [name for name in names if not name.startswith(("blk.", "token_embd", "output_norm"))]
    text = "<image> a <|eot_id|> cat's 12345"
    backend = GgufBackend(joint / "e5-v-F16.gguf", read_folder(joint).spec, 1)
    assert backend.encode_text(text) == tiny_llava.tokenizer().encode(text).ids
    backend.close()


@pytest.mark.parametrize("name", ["heads that share keys", "as many keys", "wide heads"])
def test_rotary_rows_are_llama_cpps(name: str, tmp_path: Path) -> None:
    """Neighbouring channels turn together in llama.cpp's Llama, those half a head apart in transformers'."""
    changes = {"heads that share keys": {"num_key_value_heads": 1}, "as many keys": {"num_key_value_heads": 4}}
    model = tiny.make("llama", tmp_path / "m", "lasttoken", **changes.get(name, {"head_dim": 24}))
    source = open_source(read_folder(tmp_path / "m"))
    write_file(tmp_path / "x.gguf", source, "F32", source.folder / "tokenizer.json")
    backend = GgufBackend(tmp_path / "x.gguf", source.spec, 1)
    (ids,) = some_ids(60)
    np.testing.assert_allclose(backend.forward(Batch([ids]))[0][-1], embedded(model, ids, None), atol=5e-5)  # 1e-5
    backend.close()


def test_newer_names_make_the_same_file(llava: tuple[Any, Path], tmp_path: Path) -> None:
    """Release 5 of transformers names tensors otherwise."""
    model, folder = llava
    older = open_source(read_folder(folder))
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    for path, source in ((tmp_path / "a.gguf", older), (tmp_path / "b.gguf", replace(older, tensors=tensors))):
        write_file(path, source, "F16", folder / "tokenizer.json")
    assert any(name.startswith("model.language_model.") for name in tensors)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
