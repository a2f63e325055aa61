"""CLIP and SigLIP from checkpoint to vectors, both parts, against transformers' tokenizers, preprocessors, models."""

from __future__ import annotations

import asyncio
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import CLIPConfig, CLIPTextConfig, SiglipTextConfig, SiglipVisionConfig

from edge_embed import AsyncEmbedder, Embedder, InputError, ModelError, TruncationWarning
from edge_embed.architectures import clip, siglip
from edge_embed.cli.main import main
from edge_embed.spec.sample_image import sample_image
from edge_embed_convert import convert
from edge_embed_convert.gguf.file import names_of

from support import tiny_clip

TEXTS = [
    "a cat",
    "The Cat, the CAT!  of 3",
    "x",
    "",
    "word " * 12,
    "ein Bär, 中文",
    "ends <|endoftext|> early",
    "a </s> or a <pad> as a text",
]
TOLERANCE = 1e-4  # per element of unit vectors; 4e-7 was measured, of texts and of images
ALL = ["onnx:float32", "onnx:int8", "mlx:float32"]
FORMATS = {"clip-of-before": ["mlx:float32"], "siglip2": ["onnx:float32"]}  # what they do otherwise is small
Made = Callable[[str], tuple[Any, Path, list[Path]]]


def drawn() -> list[Image.Image]:
    """Return images of which some are scaled down, some up, and none is a square."""
    seeds = {100: (90, 64), 101: (50, 91), 102: (20, 13), 103: (33, 32)}
    return [Image.fromarray(sample_image(seed)).resize(size) for seed, size in seeds.items()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return what gives a kind's model, its checkpoint's folder, and the folders that were made of it."""
    known: dict[str, tuple[Any, Path, list[Path]]] = {}

    def one(kind: str) -> tuple[Any, Path, list[Path]]:
        if kind not in known:
            folder = tmp_path_factory.mktemp("clip")
            model = tiny_clip.make(kind, folder / kind)
            more = {"portable": kind == "clip", "keep_checkpoint": kind == "clip"}
            out = convert(folder / kind, folder / "out", FORMATS.get(kind, ALL), **more)
            known[kind] = model, folder / kind, out
        return known[kind]

    return one


@pytest.mark.parametrize("kind", tiny_clip.KINDS)
def test_float32_equals_transformers_in_every_format(made: Made, kind: str) -> None:
    model, source, folders = made(kind)
    texts, images = tiny_clip.text_vectors(model, kind, source, TEXTS), tiny_clip.image_vectors(model, kind, drawn())
    assert np.abs(images[0] @ images[1]) < 0.99  # the image matters
    for folder in folders:
        with Embedder(f"{folder}:float32") as embedder:
            with pytest.warns(TruncationWarning):
                found = embedder.encode(TEXTS)
            np.testing.assert_allclose(found, texts, atol=TOLERANCE)
            np.testing.assert_allclose(embedder.encode_image(drawn()), images, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_int8_is_near(made: Made, kind: str) -> None:
    """0.9997 and 0.9998 of 40 random channels were measured; published models are wider."""
    model, source, (folder, _) = made(kind)
    with Embedder(f"{folder}:int8") as embedder:
        texts = (embedder.encode(TEXTS[:4]) * tiny_clip.text_vectors(model, kind, source, TEXTS[:4])).sum(axis=1)
        images = (embedder.encode_image(drawn()) * tiny_clip.image_vectors(model, kind, drawn())).sum(axis=1)
    assert min(texts.min(), images.min()) > 0.998


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_company_changes_nothing(made: Made, kind: str) -> None:
    for folder, level in zip((made(kind)[2][0], *made(kind)[2]), ("int8", "float32", "float32"), strict=True):
        with Embedder(f"{folder}:{level}") as embedder, warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)
            together = embedder.encode([*TEXTS, {"image": drawn()[1]}])
            alone = np.stack([embedder.encode(text) for text in TEXTS])
            assert (together[:-1] == alone).all()
            assert (together[-1] == embedder.encode_image(drawn()[1])).all()


@pytest.mark.parametrize("kind", ["clip", "siglip2"])
def test_a_shorter_limit_cuts_texts_and_keeps_their_closing_token(made: Made, kind: str) -> None:
    with Embedder(f"{made(kind)[2][0]}:float32", max_tokens=7) as embedder:
        with pytest.warns(TruncationWarning):
            cut = embedder.encode("cat " * 12)
        assert (cut == embedder.encode("cat cat cat cat cat" if kind == "clip" else "cat cat cat ")).all()


def test_counts_are_those_of_the_texts_own_tokens(made: Made) -> None:
    with Embedder(f"{made('siglip')[2][0]}:float32") as embedder:
        assert [count.tokens for count in embedder.count_tokens(["a cat", "", "cat " * 40])] == [3, 1, 41]
        assert [count.cut for count in embedder.count_tokens(["a cat", "cat " * 40])] == [0, 17]


def test_token_ids_are_filled_up_as_well(made: Made) -> None:
    async def compute(embedder: Embedder, ids: list[int]) -> Any:
        async with AsyncEmbedder(embedder) as model:
            return await model.compute([ids, "a cat"])

    folder = made("siglip")[2][0]
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a cat").ids
    computed = asyncio.run(compute(Embedder(f"{folder}:float32"), ids))
    assert (computed.vectors[0] == computed.vectors[1]).all()
    assert [count.tokens for count in computed.counts] == [3, 3]


def test_the_command_embeds_texts_and_images(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, source, (folder,) = made("siglip2")
    drawn()[0].save(tmp_path / "p.png")
    command = ["embed", "A Cat", "--image", str(tmp_path / "p.png"), "--model", f"{folder}:float32"]
    assert main(command) == 0
    found = np.array(json.loads(capsys.readouterr().out))
    np.testing.assert_allclose(found[:1], tiny_clip.text_vectors(model, "siglip2", source, ["a cat"]), atol=TOLERANCE)
    np.testing.assert_allclose(found[1:], tiny_clip.image_vectors(model, "siglip2", drawn()[:1]), atol=TOLERANCE)


def test_sentence_transformers_opens_what_was_made(made: Made) -> None:
    """4e-7 was measured; the folder has the weights too."""
    folder = made("clip")[2][0]
    theirs = SentenceTransformer(str(folder), device="cpu")
    with Embedder(f"{folder}:float32") as ours:
        np.testing.assert_allclose(ours.encode(TEXTS[:4]), theirs.encode(TEXTS[:4]), atol=TOLERANCE)


def sentence_transformers(source: Path, folder: Path, *more: str) -> Path:
    """Lay a checkpoint out as sentence-transformers/clip-ViT-B-32 is."""
    shutil.copytree(source, folder / "0_CLIPModel")
    kinds = ["CLIPModel", *more]
    modules = [
        {"idx": n, "name": str(n), "path": f"{n}_{kind}", "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "README.md").write_text("# CLIP\n")
    return folder


def test_the_layout_of_sentence_transformers(made: Made, tmp_path: Path) -> None:
    """The checkpoint is converted when it is opened."""
    _, source, (folder, _) = made("clip")
    published = sentence_transformers(source, tmp_path / "clip-ViT-B-32", "Normalize")
    with Embedder(f"{published}:float32") as opened, Embedder(f"{folder}:float32") as ours:
        assert opened.spec.name == "clip-ViT-B-32"
        assert opened.spec.normalize
        assert (opened.encode(["a cat"]) == ours.encode(["a cat"])).all()
        assert (opened.encode_image(drawn()) == ours.encode_image(drawn())).all()
    message = "modules 'Dense' after CLIPModel are not implemented"
    with pytest.raises(ModelError, match=message):
        Embedder(sentence_transformers(source, tmp_path / "other", "Dense"))


def without(graph: Path, to: Path, *names: str) -> None:
    """Copy a graph without some of its outputs."""
    model = onnx.load(graph)
    kept = [one for one in model.graph.output if one.name not in names]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.save(model, to)


@pytest.mark.parametrize(("kind", "text"), [("clip", "text_embeds"), ("siglip", "pooler_output")])
def test_graphs_of_others(made: Made, tmp_path: Path, kind: str, text: str) -> None:
    """As transformers.js lays them out: beside each vector the rows that it was made of, and a graph of both parts."""
    _, source, (ours, _) = made(kind)
    folder = Path(shutil.copytree(source, tmp_path / kind, ignore=shutil.ignore_patterns("*.safetensors")))
    (folder / "onnx").mkdir()
    texts, images = "onnx/text_model.onnx", "onnx/vision_model.onnx"
    without(ours / texts, folder / texts, "pooled_hidden_state", "sentence_embedding")
    without(ours / images, folder / images, *(["image_embeds"] if kind == "siglip" else []))
    shutil.copy(folder / images, folder / "onnx" / "model.onnx")
    with Embedder(folder) as theirs, Embedder(f"{ours}:float32") as own:
        np.testing.assert_allclose(theirs.encode(["A cat", "x"]), own.encode(["A cat", "x"]), atol=1e-6)
        np.testing.assert_allclose(theirs.encode_image(drawn()), own.encode_image(drawn()), atol=1e-6)
    without(ours / texts, folder / texts, "pooled_hidden_state", "sentence_embedding", text)
    message = "none of the outputs 'last_hidden_state' is one of 'pooled_hidden_state', "
    with pytest.raises(ModelError, match=message):
        Embedder(folder)


def change(folder: Path, file: str, key: str, **values: Any) -> None:
    """Change keys of a JSON file, or with `key` of an object in it."""
    path = folder / file
    found = json.loads(path.read_text())
    (found[key] if key else found).update(values)
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("kind", "file", "key", "values", "message"),
    [
        ("clip", "config.json", "text_config", {"hidden_act": "relu"}, "hidden_act='relu' is not implemented"),
        ("clip", "config.json", "vision_config", {"num_channels": 1}, "num_channels=1 is not implemented; 3 is"),
        ("clip", "config.json", "text_config", {"num_hidden_layers": 1}, "tensors have no place in this architecture"),
        ("clip", "config.json", "text_config", {"num_attention_heads": 8}, "heads of 4 numbers, and ONNX Runtime's"),
        (
            "clip",
            "config.json",
            "text_config",
            {"num_attention_heads": 5},
            "hidden_size=32 is not a multiple of num_att",
        ),
        ("clip", "config.json", "", {"projection_dim": 39}, r"has shape \(40, 32\), config.json calls for \(39, 32\)"),
        ("clip", "config.json", "vision_config", {"image_size": 33}, "image_size=33 is not a multiple of patch_size=8"),
        ("clip", "preprocessor_config.json", "", {"do_flip": True}, "'do_flip' is not implemented"),
        ("clip", "modules.json", "", {}, "Dense modules without a Pooling module are not implemented"),
        (
            "siglip",
            "config.json",
            "vision_config",
            {"vision_use_head": False},
            "vision_use_head=False is not implemented",
        ),
        (
            "siglip",
            "config.json",
            "",
            {"model_type": "siglip2"},
            "is SigLIP 2 for images of any proportions .NaFlex., whi",
        ),
        ("siglip", "preprocessor_config.json", "", {"do_resize": False}, "do_resize=false is not implemented"),
        (
            "siglip",
            "preprocessor_config.json",
            "",
            {"image_processor_type": "Siglip2ImageProcessor"},
            "is not implemented",
        ),
        (
            "siglip",
            "tokenizer_config.json",
            "",
            {"padding_side": "left"},
            "padding_side='left' is not implemented for Sig",
        ),
        (
            "siglip",
            "tokenizer_config.json",
            "",
            {"pad_token": "fill"},
            "has no token 'fill', which is to fill texts up",
        ),
    ],
)
def test_what_would_change_vectors_is_refused(
    made: Made, tmp_path: Path, kind: str, file: str, key: str, values: dict[str, Any], message: str
) -> None:
    source = Path(shutil.copytree(made(kind)[1], tmp_path / "source"))
    if file == "modules.json":
        types = [{"type": f"sentence_transformers.models.{one}", "path": ""} for one in ("Transformer", "Dense")]
        (source / file).write_text(json.dumps(types))
    else:
        change(source, file, key, **values)
    with pytest.raises(ModelError, match=message):
        convert(source, tmp_path / "out", ["onnx:float32"])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("clip", "text_projection.weight"),
        ("clip", "vision_model.encoder.layers.0.layer_norm1.weight"),
        ("siglip", "text_model.encoder.layers.1.self_attn.v_proj.weight"),
        ("siglip", "vision_model.head.probe"),
    ],
)
def test_a_missing_tensor_is_named(made: Made, tmp_path: Path, kind: str, name: str) -> None:
    source = Path(shutil.copytree(made(kind)[1], tmp_path / "source"))
    tensors = load_file(source / "model.safetensors")
    del tensors[name]
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=f"the weights lack the tensor '{name}', which config.json calls for"):
        convert(source, tmp_path / "out", ["onnx:float32"])


def test_towers_of_two_widths_are_refused(tmp_path: Path) -> None:
    tiny_clip.make("siglip", tmp_path / "source", {"projection_size": 32})
    with pytest.raises(ModelError, match="vectors of images have hidden_size=48 numbers, those of texts 32"):
        convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_llama_cpp_has_no_such_tower(kind: str) -> None:
    with pytest.raises(ModelError, match=f"model_type '{kind}' has no GGUF names; there are 'bert', "):
        names_of(kind)


def test_another_pooling_is_refused(made: Made) -> None:
    with pytest.raises(InputError, match="spec: pooling='mean' contradicts clip, which has 'last': leave it out"):
        Embedder(made("clip")[1], spec={"pooling": "mean"})


def test_what_a_config_leaves_out_or_says_twice(made: Made) -> None:
    """The second of two nested configs wins, as in transformers."""
    model, source, _ = made("clip")
    config = json.loads((source / "config.json").read_text())
    older = {key: value for key, value in config["text_config"].items() if key not in ("hidden_act", "layer_norm_eps")}
    seen = {key: value for key, value in config["vision_config"].items() if key not in ("hidden_act", "model_type")}
    sparse = {**config, "text_config": {"hidden_size": 7}, "text_config_dict": older, "vision_config": seen}
    assert clip.read(sparse) == clip.read(config)
    assert clip.read_image(sparse) == clip.read_image(config)
    assert CLIPConfig(**sparse).text_config.to_dict() == model.config.text_config.to_dict()


def test_what_is_unsaid_is_what_transformers_takes() -> None:
    for known, theirs in (
        (clip.TEXT, CLIPTextConfig()),
        (siglip.TEXT, SiglipTextConfig()),
        (siglip.VISION, SiglipVisionConfig()),
    ):
        assert {key: getattr(theirs, key) for key in known} == known
    assert CLIPConfig().projection_dim == clip.DIM
