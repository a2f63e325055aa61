"""May vectors of one model be searched with queries of another? Measured on texts, and answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .embedder import Embedder
from .errors import InputError
from .vectors import similarity, similarity_pairwise

TOP = 10
# Measured with int8 and Q4_K_M of the trained miniatures against float32: docs/figures/quality.md. Below these a tenth
# of what a search finds, or more, is not what the same model would have found.
COSINE, OVERLAP = 0.97, 0.85


@dataclass(frozen=True, kw_only=True)
class Compatibility:
    """What was measured: cosine of the same text by both, share of the nearest TOP that queries of B find among A's.

    >>> found = Compatibility(same_space=True, mean_cosine=0.99, least_cosine=0.98, overlap=0.9, texts=50)
    >>> found.answer
    True
    >>> print(found.sentence())  # doctest: +NORMALIZE_WHITESPACE
    Yes: the vector space is the same; over 50 texts the cosine is 0.9900 in the mean and 0.9800 at least, and of the
    10 nearest documents the other's queries find 90% (asked for: 0.97 and 85%).
    >>> found.to_json()["compatible"]
    True
    """

    same_space: bool | None
    mean_cosine: float
    least_cosine: float
    overlap: float
    texts: int

    @property
    def answer(self) -> bool:
        """Whether vectors of A may be searched with queries of B."""
        return self.same_space is not False and self.mean_cosine >= COSINE and self.overlap >= OVERLAP

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {"compatible": self.answer, **asdict(self)}

    def sentence(self) -> str:
        """Say the answer and its reasons to people."""
        spaces = {True: "the same", False: "another", None: "not known to be the same"}[self.same_space]
        return (
            f"{'Yes' if self.answer else 'No'}: the vector space is {spaces}; over {self.texts} texts the cosine is "
            f"{self.mean_cosine:.4f} in the mean and {self.least_cosine:.4f} at least, and of the {TOP} nearest "
            f"documents the other's queries find {self.overlap:.0%} (asked for: {COSINE} and {OVERLAP:.0%})."
        )


def compare(a: Embedder, b: Embedder, texts: Sequence[str]) -> Compatibility:
    """Embed texts with both, and search A's documents with queries of each.

    Raises InputError for fewer than TOP + 1 texts or vectors of different lengths.

    >>> compare(model, model, [f"text number {n}" for n in range(20)]).answer
    True
    """
    if len(texts) <= TOP:
        raise InputError(f"{len(texts)} texts are too few to compare with: give more than {TOP}")
    if a.dim != b.dim:
        raise InputError(f"{a.spec.name} gives {a.dim} numbers, {b.spec.name} {b.dim}: never compatible")
    documents = a.encode_document(texts)
    cosines = similarity_pairwise(documents, b.encode_document(texts))
    own, foreign = (_nearest(similarity(model.encode_query(texts), documents)) for model in (a, b))
    shared = [len(set(one) & set(other)) for one, other in zip(own, foreign, strict=True)]
    known = a.spec.fingerprint is not None and b.spec.fingerprint is not None
    return Compatibility(
        same_space=a.spec.fingerprint == b.spec.fingerprint if known else None,
        mean_cosine=float(cosines.mean()),
        least_cosine=float(cosines.min()),
        overlap=float(np.mean(shared)) / TOP,
        texts=len(texts),
    )


def _nearest(scores: NDArray[np.float32]) -> list[list[int]]:
    """List the TOP best columns of each row, the row's own text left out: both find that."""
    np.fill_diagonal(scores, -np.inf)
    rows: list[list[int]] = np.argpartition(-scores, TOP, axis=1)[:, :TOP].tolist()
    return rows
