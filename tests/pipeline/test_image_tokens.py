"""Images among the tokens of a prompt, as the pipeline hands them to a backend; no weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed import Embedder, InputError, ModelSpec, TruncationWarning, UnsupportedModelError
from edge_embed.backends.fake import FakeBackend, FakeImageBackend
from edge_embed.layouts.facts import facts_of
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.image import ImageSpec
from edge_embed.spec.model import with_values

from support import tiny_llava

USER, END = (
    "<|start_header_id|>user<|end_header_id|>\n\n",
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n \n",
)
SPEC = with_values(
    ModelSpec(
        name="e5-v",
        architecture="llava_next",
        dim=16,
        max_tokens=200,
        pooling="last",
        normalize=True,
        attention="causal",
        image=ImageSpec(size=(28, 28), pinpoints=((28, 56), (56, 28))),
    ),
    {**facts_of("royokong/e5-v"), "pooling": "mean"},
)
RED, TALL = np.full((28, 28, 3), (255, 0, 0), np.uint8), np.full((90, 30, 3), 40, np.uint8)


@pytest.fixture
def parts(tmp_path: Path) -> tuple[TextTokenizer, FakeBackend, FakeImageBackend]:
    tiny_llava.tokenizer().save(str(tmp_path / "tokenizer.json"))
    return TextTokenizer(tmp_path / "tokenizer.json", SPEC.max_tokens), FakeBackend(16), FakeImageBackend(16)


@pytest.fixture
def model(parts: Any) -> Embedder:
    return Embedder.from_parts(SPEC, *parts)


def test_prompts_are_e5_vs_to_the_last_space() -> None:
    assert SPEC.prompts["sentence"] == f"{USER}{{text}}\nSummary above sentence in one word: {END}"
    assert SPEC.prompts["image"] == f"{USER}{{image}}\nSummary above image in one word: {END}"
    assert SPEC.prompts["modified-image"].startswith(f'{USER}{{image}}Modify this image with "{{text}}", desribe')
    assert all(template.endswith(": " + END) for template in SPEC.prompts.values())


def test_an_images_rows_stand_where_its_token_was(model: Embedder, parts: Any) -> None:
    words, backend, vision = parts
    model.encode({"image": TALL})
    (call,) = backend.batches
    (image,), (ids,) = call.image_rows, call.ids
    before = words.tokenize([f"{USER}"]).ids[0]
    assert image.at == len(before)
    assert len(image.rows) == 3  # an overview and two tiles
    assert (ids[: image.at] == before).all()
    assert (ids[image.at : image.at + 3] == words.token_id("<image>")).all()
    assert (ids[image.at + 3 :] == words.tokenize([SPEC.prompts["image"][len(USER) + 7 :]]).ids[0][1:]).all()
    assert len(vision.batches[0]) == 1


def test_every_kind_together_equals_each_alone(model: Embedder) -> None:
    inputs: list[Any] = ["a cat", {"image": RED}, {"image": TALL, "text": "blue"}, {"text": "x"}, {"image": TALL}]
    together = model.encode(inputs)
    for row, one in zip(together, inputs, strict=True):
        np.testing.assert_allclose(row, model.encode(one), atol=1e-6)
    np.testing.assert_allclose(model.encode_image([RED, TALL]), together[[1, 4]], atol=1e-6)
    np.testing.assert_allclose(model.encode_query(inputs), together, atol=1e-6)
    assert not np.allclose(together[2], together[4])


def test_a_prompt_by_name_or_as_given(model: Embedder) -> None:
    named = model.encode_image(RED, prompt_name="dress")
    prompt = f"{USER}{{image}}\n Describe this dress in one word based on its style: {END}"
    given = model.encode_image(RED, prompt=prompt)
    np.testing.assert_array_equal(named, given)
    assert not np.allclose(named, model.encode_image(RED))
    changed_dress = model.encode({"image": RED, "text": "short sleeves"}, prompt_name="modified-dress")
    assert not np.allclose(changed_dress, model.encode({"image": RED, "text": "short sleeves"}))


@pytest.mark.parametrize(
    ("inputs", "prompt", "message"),
    [
        (["a", {"image": RED}], "image", r"input 0 is a text, and the prompt .* takes an image: choose another"),
        ([{"image": RED}], "sentence", r"input 0 is an image, and the prompt .* takes a text"),
        ([{"image": RED, "text": "a"}], "image", "input 0 is an image with a text, and the prompt"),
        ([{"image": RED, "text": "a <image> b"}], None, "input 0 spells '<image>' in its text"),
        ([{"image": RED, "text": 7}], None, "input 0 is int 7"),
        ([{}], None, "input 0 is a dict of nothing"),
    ],
)
def test_inputs_that_the_prompt_has_no_place_for(
    model: Embedder, parts: Any, inputs: Any, prompt: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model.encode(inputs, prompt_name=prompt)
    assert not parts[1].batches
    assert not parts[2].batches


def test_only_the_text_is_cut(model: Embedder, parts: Any) -> None:
    with pytest.warns(TruncationWarning, match=r"1 of 1 texts were cut to 200 tokens"):
        model.encode({"image": TALL, "text": "z" * 300})
    (ids,) = parts[1].batches[-1].ids
    assert len(ids) == 200
    assert (ids[-4:] == parts[0].tokenize([END]).ids[0][-4:]).all()
    with pytest.raises(InputError, match=r"image 0 becomes 3 tokens, .* e5-v takes 200: .*input 0 has 3\d\d tokens"):
        model.encode({"image": TALL, "text": "z" * 300}, truncation="error")


def test_too_long_images_and_spelt_tokens(parts: Any) -> None:
    words, backend, vision = parts
    short = Embedder.from_parts(replace(SPEC, max_tokens=20), words.limited(20), backend, vision)
    (out,) = short.encode_iter([{"image": TALL}], errors="return")
    assert isinstance(out, InputError)
    assert "image 0 becomes 3 tokens" in str(out)
    model = Embedder.from_parts(SPEC, *parts)
    with pytest.raises(InputError, match="has the image's token '<image>' 2 times"):
        model.encode_image(RED, prompt="<image> {image}")


def test_without_its_image_part(parts: Any) -> None:
    model = Embedder.from_parts(SPEC, *parts[:2])
    with pytest.raises(InputError, match=r"image 1: .* image part are not in the folder"):
        model.encode(["a", {"image": RED}])
    out = list(model.encode_iter(["a", {"image": RED}], errors="return"))
    assert isinstance(out[1], InputError)
    np.testing.assert_array_equal(out[0], model.encode("a"))


def test_texts_share_the_prompts_ids(model: Embedder, parts: Any) -> None:
    """A text that joins the prompt's last token with its first, t and h here, shares nothing."""
    words, backend, _ = parts
    assert (words.prefix(SPEC.prompts["sentence"]) == words.tokenize([USER]).ids[0]).all()
    prefix = words.prefix("a t{text}")
    model.encode(["a", "bc", "hd"], prompt="a t")
    shared = {batch.prefix_length: [ids[: len(prefix)] for ids in batch.ids] for batch in backend.batches}
    assert set(shared) == {0, len(prefix)}
    assert all((row == prefix).all() for row in shared[len(prefix)])
    assert len(shared[0]) == 1


def test_a_tokenizer_without_the_images_token(tiny_tokenizer: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="tokens of '<image>', which stands for an image"):
        TextTokenizer(tiny_tokenizer, 20).token_id("<image>")


@pytest.mark.parametrize(
    "values",
    [
        {"prompts": {"a": "{image}{image}"}, "default_prompt": None, "image_prompt": "a", "composed_prompt": None},
        {"prompts": {"a": "no place"}, "default_prompt": None, "image_prompt": None, "composed_prompt": None},
        {"default_prompt": "image"},
        {"image_prompt": "sentence"},
        {"composed_prompt": "image"},
        {"image_token": ""},
    ],
)
def test_specs_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="impossible value of"):
        with_values(SPEC, values)
