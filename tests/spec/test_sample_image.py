"""Images that are the same on every machine: their hashes stand here, and a drawing that changes is another drawing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from edge_embed import CorruptModelError, ModelSpec
from edge_embed.spec.golden import GoldenImage, golden_image
from edge_embed.spec.sample_image import NEWEST, sample_image, splitmix

from support.fake import SPEC

DRAWN = {
    1001: "7f7233884d09adbd765d3cf7e79bc53cd7c6ecbcc1a78ccabbadc51c5cb43193",
    1002: "a1d3ae15848ed1a1d74849e5ca0598de5739e4050f428600517b884d079397f1",
}


def test_the_numbers_are_those_of_splitmix64() -> None:
    """The first three from seed 1234567, as the reference implementation in C gives them."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert (splitmix(1234567, 3) == [(number >> 11) * 2.0**-53 for number in expected]).all()


@pytest.mark.parametrize("seed", DRAWN)
def test_a_drawing_stays_as_it_is(seed: int) -> None:
    image = sample_image(seed)
    assert image.std() > 40
    assert hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest() == DRAWN[seed]


def test_no_numbers_of_numpys_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np.random, "default_rng", lambda seed: pytest.fail("a stream that NumPy does not promise"))
    sample_image(7)


def test_folders_of_the_first_drawing_are_read_as_they_were_meant() -> None:
    old = json.loads(SPEC.to_json())
    old["golden_pictures"] = [{"seed": 7, "vector": ""}]
    (one,) = ModelSpec.from_json(json.dumps(old)).golden_images
    assert (one.seed, one.drawing) == (7, 1)
    assert sample_image(7, one.drawing).shape == (406, 330, 3) != sample_image(7).shape
    new = replace(SPEC, golden_images=(golden_image(7, np.ones(16, np.float32)),))
    assert ModelSpec.from_json(new.to_json()).golden_images[0].drawing == NEWEST


def test_a_drawing_of_a_later_version() -> None:
    spec = replace(SPEC, golden_images=(GoldenImage(seed=7, vector="", drawing=3),))
    with pytest.raises(CorruptModelError, match=r"impossible value of 'golden_pictures\.drawing'"):
        ModelSpec.from_json(spec.to_json())
