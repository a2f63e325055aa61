"""An Embedder as a model of mteb (Muennighoff et al. 2023, arXiv 2210.07316): texts, images, and both at once.

    from benchmarks.mteb_model import EmbedderModel
    mteb.evaluate(EmbedderModel("BASE:int8"), mteb.get_tasks(tasks=["SciFact"]))

`python -m benchmarks quality.mteb` does that by one command. Prompts and tasks are those that mteb's own wrappers give
the models on its leaderboard. mteb's release 2 is asked for; it needs torch, so neither is installed with edge_embed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from edge_embed import Embedder, InputError
from edge_embed.pipeline.inputs import Input
from edge_embed.vectors import Precision, quantize, similarity, similarity_pairwise

Vectors = NDArray[np.float32]
Side = Literal["query", "document"]
AS_IT_IS = "{text}"
# Which adapter a base like jina-embeddings-v5-text takes for a type of mteb's tasks (mteb 2.26, JinaV5TextWrapper).
ADAPTERS = {
    "Retrieval": "retrieval",
    "Reranking": "retrieval",
    "InstructionReranking": "retrieval",
    "InstructionRetrieval": "retrieval",
    "STS": "text-matching",
    "PairClassification": "text-matching",
    "BitextMining": "text-matching",
    "Summarization": "text-matching",
    "Classification": "classification",
    "MultilabelClassification": "classification",
    "Clustering": "clustering",
}
DECODED: dict[Precision, Any] = {"int8": lambda codes: codes, "uint8": lambda codes: codes.astype(np.float32) - 128}


class EmbedderModel:
    """What mteb calls an encoder. `dim` and `precision` shorten and quantise vectors, each by itself, as users do.

    A base with adapters takes the one of the task's type; a model that was merged for one of them is refused tasks of
    another, since no leaderboard has such figures. Raises InputError for these, and what Embedder raises.
    """

    def __init__(
        self,
        model_name: str | Embedder,
        revision: str | None = None,
        *,
        device: str | None = None,
        dim: int | None = None,
        precision: Precision = "float32",
        **options: Any,
    ) -> None:
        if device not in (None, "cpu"):
            raise InputError(f"device={device!r}: the engine chooses what it computes on")
        told = {"revision": revision} if revision else {}
        given = isinstance(model_name, Embedder)
        self.embedder = cast(Embedder, model_name) if given else _open(str(model_name), {**told, **options})
        self.dim, self.precision = dim, precision

    @property
    def mteb_model_meta(self) -> Any:
        """Under what name results are kept: that of the model, with level, dimensions and precision."""
        from mteb.models.model_meta import ModelMeta, ScoringFunction

        spec = self.embedder.spec
        parts = [spec.name, self.embedder.level.replace(":", "-").replace(" ", "-")]
        parts += [f"{self.dim}d"] if self.dim else []
        parts += [self.precision] if self.precision != "float32" else []
        told = {
            "name": f"edge_embed/{'-'.join(parts)}",
            "revision": spec.fingerprint or "unknown",
            "embed_dim": spec.pick_dim(self.dim),
            "max_tokens": spec.max_tokens,
            "similarity_fn_name": ScoringFunction.COSINE,
            "modalities": ["image", "text"] if spec.image else ["text"],
        }
        return ModelMeta.create_empty(told)

    def encode(
        self, inputs: Iterable[Mapping[str, Any]], *, task_metadata: Any, prompt_type: Any = None, **kwargs: Any
    ) -> Vectors:
        """Embed mteb's batches -> (n, dim), float32; what was quantised is turned back into numbers."""
        self._use_adapter(task_metadata.type)
        side, prompt = self._prompt(prompt_type)
        items = list(_items(inputs))
        if any(isinstance(item, dict) and len(item) == 2 for item in items) and not self.embedder.spec.image_token:
            texts, images = ([{kind: item[kind]} for item in items] for kind in ("text", "image"))  # type: ignore[index]
            found = self._embed(texts, side, prompt) + self._embed(images, side, prompt)
        else:
            found = self._embed(items, side, prompt)
        return decoded(found, self.precision)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines of each with each (n, m), a tensor."""
        return _tensor(similarity(np.atleast_2d(embeddings1), np.atleast_2d(embeddings2)))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine of each with its counterpart (n,), a tensor."""
        return _tensor(similarity_pairwise(np.asarray(embeddings1), np.asarray(embeddings2)))

    def _embed(self, items: Sequence[Input], side: Side | None, prompt: str | None) -> Vectors:
        found: Vectors = self.embedder.encode(
            items, side=side, prompt=prompt, truncate_dim=self.dim, show_progress_bar=False
        )
        return found

    def _use_adapter(self, kind: str) -> None:
        spec = self.embedder.spec
        wanted = ADAPTERS.get(kind)
        if spec.task is None or wanted is None or spec.task.partition(".")[0] == wanted:
            return
        try:
            self.embedder.use_task(wanted)
        except InputError as error:
            what = f"{spec.name} was made for {spec.task}, and {kind} is scored with {wanted}"
            raise InputError(f"{what}: give the base with its adapters") from error

    def _prompt(self, prompt_type: Any) -> tuple[Side | None, str | None]:
        """Return a side, or a prompt. Texts of neither side are documents where a model has tasks, else have none."""
        side = getattr(prompt_type, "value", prompt_type)
        spec = self.embedder.spec
        if side is not None:
            return ("query" if side == "query" else "document"), None
        if spec.task is not None:
            return "document", None
        return None, (None if spec.image or spec.default_prompt else AS_IT_IS)


def decoded(found: Vectors, precision: Precision) -> Vectors:
    """Quantise vectors and turn them back into numbers, whose cosines are those of the quantised ones."""
    if precision == "float32":
        return found
    if precision in DECODED:
        codes: NDArray[Any] = DECODED[precision](quantize(found, precision))
        return codes.astype(np.float32)
    return np.where(found > 0, np.float32(1), np.float32(-1))


def _items(batches: Iterable[Mapping[str, Any]]) -> Iterator[Input]:
    """Turn batches, lists by "text" and "image", into inputs one by one."""
    for batch in batches:
        kinds = [kind for kind in ("text", "image") if kind in batch]
        for values in zip(*(batch[kind] for kind in kinds), strict=True):
            item = {kind: value for kind, value in zip(kinds, values, strict=True) if value is not None}
            yield cast(Input, item)


def _open(name: str, options: dict[str, Any]) -> Embedder:
    """Open a model; a base with adapters for retrieval first, since one of its tasks has to be named."""
    try:
        return Embedder(name, **options)
    except InputError as error:
        if "several tasks" not in str(error):
            raise
        return Embedder(name, **{**options, "task": "retrieval"})


def _tensor(values: Vectors) -> Any:
    import torch

    return torch.from_numpy(values)
