"""Does this machine compute what the model's maker computed? A few golden texts through tokenizer, engine and pooling.

Engines give wrong vectors without an error: kernels that overflow or return NaN on one processor, padding on the other
side, a mask that is taken and ignored. What the maker measured is in the spec; here it is measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_embed.backends import ImageBackend, TextBackend
from edge_embed.errors import SelfTestError
from edge_embed.hub.digests import identity
from edge_embed.images.preprocess import load_image
from edge_embed.pipeline.head import Head
from edge_embed.pipeline.rows import TextRow, compute_rows
from edge_embed.pipeline.tokenizer import Tokenizer
from edge_embed.spec.golden import Golden, allowed_deviation, golden_vectors, ids_digest
from edge_embed.spec.image import ImagePixels
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.sample_image import sample_image
from edge_embed.spec.weights import Weights
from edge_embed.vectors import normalize

SWITCH = "EDGE_EMBED_SELFTEST"  # "off", "always", else once for these files, this engine and this machine
SLACK, SHARE = 0.003, 0.15  # how far a cosine may lie below the maker's: so much, and so much of what it lacked to 1
Ids = NDArray[np.int32]


def check_once(
    folder: Path,
    spec: ModelSpec,
    weights: Weights,
    tokenizer: Tokenizer,
    backend: TextBackend,
    cache: Path,
    head: Head | None = None,
) -> None:
    """Run the self-test of a text part unless it passed here before; a model without golden vectors has none.

    Raises SelfTestError.
    """
    with _once(folder, spec, weights, backend.engine, cache) as due:
        if due:
            self_test(spec, weights, tokenizer, backend, head)


def check_images_once(folder: Path, spec: ModelSpec, weights: Weights, backend: ImageBackend, cache: Path) -> None:
    """Run the self-test of an image part, as `check_once` does that of a text part."""
    with _once(folder, spec, weights, backend.engine, cache) as due:
        if due:
            image_self_test(spec, weights, backend)


@contextlib.contextmanager
def _once(folder: Path, spec: ModelSpec, weights: Weights, engine: str, cache: Path) -> Iterator[bool]:
    """Say whether a test is due, and note in the cache that it passed unless it raises."""
    mode = os.environ.get(SWITCH, "")
    mark = cache / "checked" / _key(folder, spec, weights, engine)
    due = mode != "off" and weights.fidelity is not None and (mode == "always" or not mark.exists())
    yield due
    if due:
        with contextlib.suppress(OSError):  # a cache that cannot be written: the test is run again next time
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def self_test(
    spec: ModelSpec, weights: Weights, tokenizer: Tokenizer, backend: TextBackend, head: Head | None = None
) -> None:
    """Embed the golden texts in one batch and the first alone; raise SelfTestError for other ids or other vectors."""
    assert weights.fidelity is not None
    chosen = [n for n, one in enumerate(spec.golden) if one.max_tokens <= spec.max_tokens]
    if not chosen:
        return
    goldens = [spec.golden[n] for n in chosen]
    ids = [_ids(tokenizer, one) for one in goldens]
    expected = golden_vectors(tuple(goldens), spec.dim)
    head = head or Head(spec.pooling)
    together, alone = embed_ids(backend, ids, head), embed_ids(backend, ids[:1], head)
    cosines = (together * expected).sum(axis=1)
    _compare(weights, "text", chosen, cosines)
    change = float(np.abs(together[0] - alone[0]).max())
    lost = float(np.abs(alone[0] - expected[0]).max())  # other kernels may round more than its maker's
    allowed = max(2 * weights.fidelity.batch_deviation, allowed_deviation(lost))
    if not change <= allowed:
        what = f"a vector changed by {change:.1e} beside other texts; {allowed:.1e} is allowed"
        raise SelfTestError(_message(weights, what))


def image_self_test(spec: ModelSpec, weights: Weights, backend: ImageBackend) -> None:
    """Embed the golden images in one batch; raise SelfTestError for other vectors."""
    assert weights.fidelity is not None
    assert spec.image is not None
    images = [load_image(sample_image(one.seed, one.drawing), spec.image) for one in spec.golden_images]
    cosines = (embed_images(backend, images) * golden_vectors(spec.golden_images, spec.dim)).sum(axis=1)
    _compare(weights, "image", range(len(images)), cosines)


def _compare(weights: Weights, what: str, numbers: Sequence[int], cosines: NDArray[np.float32]) -> None:
    assert weights.fidelity is not None
    for n, cosine in zip(numbers, cosines, strict=True):
        measured = weights.fidelity.cosines[n]
        bound = measured - SLACK - SHARE * (1 - measured)
        if not cosine >= bound:  # NaN is not
            found = f"{what} {n} has a cosine of {cosine:.4f}, its maker had {measured:.4f}"
            raise SelfTestError(_message(weights, found))


def _ids(tokenizer: Tokenizer, one: Golden) -> Ids:
    ids = tokenizer.limited(one.max_tokens).tokenize([one.text]).ids[0]
    if ids_digest(ids) != one.ids:
        raise SelfTestError(
            f"{one.text[:40]!r} gets other token ids than where the model was made: its tokenizer was changed, "
            "or belongs to another model; fetch the folder again"
        )
    return ids


def embed_ids(backend: TextBackend, ids: Sequence[Ids], head: Head) -> NDArray[np.float32]:
    """Embed token ids in one batch -> L2-normalised vectors (n, dim)."""
    with np.errstate(all="ignore"):  # NaN is what is looked for
        return normalize(np.stack(compute_rows(backend, head, [TextRow(row, n) for n, row in enumerate(ids)])))


def embed_images(backend: ImageBackend, images: Sequence[ImagePixels]) -> NDArray[np.float32]:
    """Run the image part on images in one batch -> L2-normalised vectors (n, dim).

    Of rows that a language model would go on to read, the mean.
    """
    with np.errstate(all="ignore"):
        return normalize(np.stack([rows.mean(axis=0) for rows in backend.forward(images)]))


def _message(weights: Weights, what: str) -> str:
    return (
        f"the self-test of {weights.name} failed on this machine: {what}. The file may be damaged, "
        f"or the engine wrong on this processor; try another level or backend, or {SWITCH}=off to use it all the same"
    )


def _key(folder: Path, spec: ModelSpec, weights: Weights, engine: str) -> str:
    """Name what was tested: the files as they are now, the engine, the machine."""
    own = [file.path for file in weights.files] + [module.file.path for module in spec.dense]
    paths = [folder / name for name in (*own, "edge_embed.json", "tokenizer.json")]
    files = [(str(path.resolve()), identity(path)) for path in paths if path.exists()]
    text = repr((files, engine, platform.node(), platform.machine(), platform.processor()))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
