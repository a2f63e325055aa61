"""The texts of the self-test, what the float32 graph makes of them, and how near each level comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_embed.backends import load
from edge_embed.images.preprocess import load_image
from edge_embed.loading.selftest import embed_ids, embed_images
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.spec.golden import (
    Fidelity,
    Golden,
    GoldenImage,
    golden,
    golden_image,
    golden_vectors,
    sample_image,
)
from edge_embed.spec.model import TEXT, ModelSpec
from edge_embed.spec.weights import Weights

from .probes import probes

LONG = 96  # tokens; enough for attention over more than one block of any engine, and quick
SEEDS = (1001, 1002)  # not those of the pictures that verification takes
THREADS = 2


def make_goldens(folder: Path, spec: ModelSpec, exact: Weights) -> tuple[Golden, ...]:
    """Embed the texts with the exact weights: a short one first, questions, many languages, long, cut at its end."""
    lines = probes(spec.max_tokens)
    query, document = (spec.template(None, None, side) for side in ("query", "document"))
    many = " ".join(line for line in lines[21:40:4])
    short, sentence, languages = ("yes", document), (lines[2], query), (many, document)
    tokenizer = TextTokenizer(folder / "tokenizer.json", spec.max_tokens)
    whole = len(tokenizer.tokenize([sentence[0]], query).ids[0])
    chosen = [(short, LONG), (sentence, LONG), (languages, LONG), ((lines[-1], document), LONG)]
    chosen += [(sentence, whole), (sentence, whole - 1)]  # the closing token at, and after, the last place
    fits = [(template.replace(TEXT, text), min(limit, spec.max_tokens)) for (text, template), limit in chosen]
    ids = [tokenizer.limited(limit).tokenize([text]).ids[0] for text, limit in fits]
    backend = load(exact.format, folder, spec, exact, THREADS)
    try:
        vectors = embed_ids(backend, ids, spec)
    finally:
        backend.close()
    return tuple(golden(*fit, row, vector) for fit, row, vector in zip(fits, ids, vectors, strict=True))


def make_golden_images(folder: Path, spec: ModelSpec, exact: Weights) -> tuple[GoldenImage, ...]:
    """Embed sample pictures with the exact weights of the image part."""
    assert spec.image is not None
    pictures = [load_image(sample_image(seed), spec.image) for seed in SEEDS]
    backend = load(exact.format, folder, spec, exact, THREADS)
    try:
        vectors = embed_images(backend, pictures)
    finally:
        backend.close()
    return tuple(golden_image(seed, vector) for seed, vector in zip(SEEDS, vectors, strict=True))


def with_fidelity(folder: Path, spec: ModelSpec, weights: Weights, batch_deviation: float) -> Weights:
    """Measure the cosine to each golden vector; `batch_deviation` is what verification allows."""
    goldens: Sequence[Golden | GoldenImage] = spec.golden
    backend = load(weights.format, folder, spec, weights, THREADS)
    try:
        if weights.part == "image":
            assert spec.image is not None
            goldens = spec.golden_images
            vectors = embed_images(
                backend, [load_image(sample_image(one.seed), spec.image) for one in spec.golden_images]
            )
        else:
            tokenizer = TextTokenizer(folder / "tokenizer.json", spec.max_tokens)
            ids = [tokenizer.limited(one.max_tokens).tokenize([one.text]).ids[0] for one in spec.golden]
            vectors = embed_ids(backend, ids, spec)
    finally:
        backend.close()
    cosines = (vectors * golden_vectors(goldens, spec.dim)).sum(axis=1)
    found = tuple(round(float(cosine), 5) for cosine in cosines)
    return replace(weights, fidelity=Fidelity(cosines=found, batch_deviation=batch_deviation))
