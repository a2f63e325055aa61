"""The texts of the self-test, what the float32 graph makes of them, and how near each level comes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import load, load_images
from edge_embed.images.preprocess import load_image
from edge_embed.loading.selftest import embed_ids, embed_images
from edge_embed.pipeline.filled import text_tokenizer
from edge_embed.pipeline.head import read_head
from edge_embed.pipeline.tokenizer import Ids
from edge_embed.spec.golden import (
    Golden,
    GoldenImage,
    golden,
    golden_image,
    golden_vectors,
)
from edge_embed.spec.model import TEXT, ModelSpec
from edge_embed.spec.sample_image import NEWEST, sample_image
from edge_embed.spec.weights import Weights

from .probes import probes

LONG = 96  # tokens; enough for attention over more than one block of any engine, and quick
SEEDS = (1001, 1002)  # not those of the images that verification takes
THREADS = 2
Vectors = NDArray[np.float32]


def make_goldens(folder: Path, spec: ModelSpec, exact: Weights) -> tuple[Golden, ...]:
    """Embed the texts with the exact weights: a short one first, questions, many languages, long, cut at its end."""
    lines = probes(spec.max_tokens)
    query, document = (spec.template(None, None, side) for side in ("query", "document"))
    many = " ".join(line for line in lines[21:40:4])
    short, sentence, languages = ("yes", document), (lines[2], query), (many, document)
    tokenizer = text_tokenizer(folder / "tokenizer.json", spec)
    whole = len(tokenizer.tokenize([sentence[0]], query).ids[0])
    chosen = [(short, LONG), (sentence, LONG), (languages, LONG), ((lines[-1], document), LONG)]
    chosen += [(sentence, whole), (sentence, whole - 1)]  # the closing token at, and after, the last place
    fits = [(template.replace(TEXT, text), min(limit, spec.max_tokens)) for (text, template), limit in chosen]
    ids = [tokenizer.limited(limit).tokenize([text]).ids[0] for text, limit in fits]
    vectors = _embed_ids(folder, spec, exact, ids)
    return tuple(golden(*fit, row, vector) for fit, row, vector in zip(fits, ids, vectors, strict=True))


def make_golden_images(folder: Path, spec: ModelSpec, exact: Weights) -> tuple[GoldenImage, ...]:
    """Embed sample images with the exact weights of the image part."""
    vectors = _embed_images(folder, spec, exact, [(seed, NEWEST) for seed in SEEDS])
    return tuple(golden_image(seed, vector) for seed, vector in zip(SEEDS, vectors, strict=True))


def golden_cosines(folder: Path, spec: ModelSpec, weights: Weights) -> tuple[float, ...]:
    """Measure the cosine to each golden vector."""
    goldens: Sequence[Golden | GoldenImage] = spec.golden
    if weights.part == "image":
        goldens = spec.golden_images
        vectors = _embed_images(folder, spec, weights, [(one.seed, one.drawing) for one in spec.golden_images])
    else:
        tokenizer = text_tokenizer(folder / "tokenizer.json", spec)
        ids = [tokenizer.limited(one.max_tokens).tokenize([one.text]).ids[0] for one in spec.golden]
        vectors = _embed_ids(folder, spec, weights, ids)
    cosines = (vectors * golden_vectors(goldens, spec.dim)).sum(axis=1)
    return tuple(round(float(cosine), 5) for cosine in cosines)


def _embed_ids(folder: Path, spec: ModelSpec, weights: Weights, ids: Sequence[Ids]) -> Vectors:
    backend = load(weights.format, folder, spec, weights, THREADS)
    try:
        return embed_ids(backend, ids, read_head(folder, spec, backend))
    finally:
        backend.close()


def _embed_images(folder: Path, spec: ModelSpec, weights: Weights, drawings: Sequence[tuple[int, int]]) -> Vectors:
    """Embed the sample images of these seeds and drawings."""
    assert spec.image is not None
    images = [load_image(sample_image(*drawing), spec.image) for drawing in drawings]
    backend = load_images(weights.format, folder, spec, weights, THREADS)
    try:
        return embed_images(backend, images)
    finally:
        backend.close()
