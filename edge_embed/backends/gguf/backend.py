"""llama.cpp through the C API of llama-cpp-python, at one pinned release: ids in, hidden states out.

How a text is computed depends on its own length, never on the texts beside it. llama.cpp's flash attention on the CPU
rounds keys and values to float16, and for calls of fewer than 64 tokens sums in float16 as well, so that a short text
alone differs from the same among others. Here texts of up to 256 tokens share calls with the plain attention, float32
throughout; longer ones go alone, with flash attention. So does a text with an image among its tokens, all of it as
rows, since llama.cpp takes ids or rows in a call: with a chunk of ids after the image, flash attention would have too
few queries (LAST_CHUNK).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import numpy as np

from edge_embed.backends import Batch, ImageRows, Rows, check_no_adapters
from edge_embed.backends.fork import settle
from edge_embed.errors import BackendError, InputError, UnsupportedModelError
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from . import LAST_CHUNK, TOKENS_PER_CALL
from .calls import calls, chunks, context_size, positions, power_of_two
from .context import Context, Ids
from .model import Model, Vocabulary
from .runtime import llama_cpp
from .table import Table

FIRST_CONTEXT = 64  # tokens of the context that a model begins with: a query needs no more
SINGLE_CALL = 64  # tokens up to which a second call costs more than the scores over the vocabulary that it saves
# Fewest tokens of a prompt that are computed once for all texts. Qwen3 of v5-text-small's shape at Q8_0, CPU time of
# whole texts over that with the prompt kept: 30 of 50 tokens 2.0 for one text and 2.3 for 32; 5 of 40, which are
# E5-V's, 1.0 and 1.24; 16 of 80, 16 texts, 1.17; 2 of 20, "Query: ", 0.94 and 1.05.
MIN_PREFIX = 4
NO_IDS = np.empty(0, np.int32)
FREE_ABOVE = 4096  # tokens; the context of a longer text is freed after it


class GgufBackend:
    """One GGUF model; a context for texts that share calls, and one for a long text."""

    engine = f"llama-cpp-python {llama_cpp.__version__}"

    def __init__(self, path: Path, spec: ModelSpec, threads: int) -> None:
        self._home = settle("llama.cpp", threads)
        self._lock = threading.Lock()
        self._threads, self._pooling = threads, spec.pooled_rows
        self._attention = None if spec.attention is None else spec.attention == "causal"
        self._long: Context | None = None
        self._vocabulary: Vocabulary | None = None
        self._table: Table | None = None
        self._model: Model | None = Model(path, spec)
        causal = self._model.causal if self._attention is None else self._attention
        try:
            self._short = self._context(FIRST_CONTEXT, 1)
        except BaseException:
            self._model.close()
            raise
        self.computes_dense = self._model.holds_dense
        self._memory = self._short.has_memory
        if not self._memory and self._attention:
            self.close()
            raise UnsupportedModelError(
                f"{path}: the model's description says causal attention, its architecture is an encoder's"
            )
        self._causal = self._memory and causal

    def forward(self, batch: Batch) -> list[Rows]:
        """Run the texts in as few calls as there may be; raise InputError for ids that the model does not have."""
        self._home.check()
        with self._lock:
            model = self._open()
            for index, ids in enumerate(batch.ids):
                _check(batch.index(index), ids, model)
            out: list[Rows] = [np.empty((0, 0), np.float32)] * len(batch.ids)
            images = {n: image for n, image in enumerate(batch.image_rows) if image is not None}
            for n, image in images.items():
                out[n] = self._call([self._with_image(batch.index(n), batch.ids[n], image)], NO_IDS)[0]
            texts = [n for n in range(len(batch.ids)) if n not in images]
            prefix = self._prefix(batch)
            for call in calls([len(batch.ids[n]) for n in texts], len(prefix)):
                chosen = [texts[n] for n in call]
                for n, rows in zip(chosen, self._call([batch.ids[n] for n in chosen], prefix), strict=True):
                    out[n] = rows
            return out

    def encode_text(self, text: str, *, special: bool = True, add: bool = True) -> list[int]:
        """Return a text's ids by the vocabulary inside the file; raise UnsupportedModelError when it has none.

        `special`: what spells a special token becomes one; `add`: with those that belong around a text.
        """
        self._home.check()
        with self._lock:
            return self._own_vocabulary().encode(text, special, add)

    def special_tokens(self, text: str) -> set[str]:
        """Return the special tokens that a text spells."""
        with self._lock:
            return self._own_vocabulary().special_tokens(text)

    def _own_vocabulary(self) -> Vocabulary:
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(self._open().path)
        return self._vocabulary

    def close(self) -> None:
        """Free contexts, weights and vocabulary; calls that are running finish first. In a fork: nothing."""
        if self._home.left:
            return
        with self._lock:
            for owned in (self._short, self._long, self._vocabulary, self._model):
                if owned is not None:
                    owned.close()
            self._long = self._vocabulary = self._model = self._table = None

    def _open(self) -> Model:
        if self._model is None:
            raise BackendError("this model was closed")
        return self._model

    def _prefix(self, batch: Batch) -> Ids:
        """Return the shared prompt's ids if keeping their keys and values pays, else none."""
        useful = self._causal and self._pooling == "last" and batch.prefix_length >= MIN_PREFIX
        return batch.ids[0][: batch.prefix_length] if useful and not any(batch.image_rows) else NO_IDS

    def _with_image(self, index: int, ids: Ids, image: ImageRows) -> Rows:
        """Return what the model reads: the embeddings of the ids, with the image's rows among them."""
        if self._table is None:
            self._table = Table(self._open().path)
        rows, stop = self._table(ids), image.at + len(image.rows)
        if not 0 <= image.at < stop <= len(ids) or image.rows.shape[1:] != rows.shape[1:]:
            raise InputError(
                f"input {index} of {rows.shape} has an image's rows {image.rows.shape} at {image.at}: they do "
                "not belong there"
            )
        rows[image.at : stop] = image.rows
        return rows

    def _call(self, inputs: Sequence[Ids | Rows], prefix: Ids) -> list[Rows]:
        """Compute inputs that share a call: ids (tokens,), or embeddings (tokens, dim) of one input alone."""
        start = len(prefix)
        tokens = start + sum(len(one) - start for one in inputs)
        context = self._context_for(tokens, len(inputs))
        try:
            if tokens > TOKENS_PER_CALL:
                context.clear()
                return [self._in_chunks(context, inputs[0])] if self._causal else self._whole(context, inputs, 0)
            if start:
                context.begin(prefix)
            else:
                context.clear()
            if self._causal and self._pooling == "last" and tokens - start > SINGLE_CALL:
                return self._last_apart(context, inputs, start)
            return self._whole(context, inputs, start)
        finally:
            if context is self._long and tokens > FREE_ABOVE:
                self._long = None
                context.close()

    def _whole(self, context: Context, inputs: Sequence[Ids | Rows], start: int) -> list[Rows]:
        """Compute every token from `start` on, which follow the prefix, in one call."""
        lengths = np.array([len(one) - start for one in inputs])
        context.run(np.concatenate([one[start:] for one in inputs]), *positions(lengths, start))
        ends = lengths.cumsum()
        wanted = context.rows(int(ends[-1]))
        if self._pooling == "last":
            rows = [wanted[end - 1 : end].copy() for end in ends]
        elif self._pooling == "first":
            rows = [wanted[end - n : end - n + 1].copy() for end, n in zip(ends, lengths, strict=True)]
        else:
            rows = [wanted[end - n : end].copy() for end, n in zip(ends, lengths, strict=True)]
        if not self._memory:
            context.shrink()
        return rows

    def _last_apart(self, context: Context, inputs: Sequence[Ids | Rows], start: int) -> list[Rows]:
        """Compute all but the last tokens without outputs, which saves their scores over the vocabulary; then those."""
        lengths = np.array([len(one) - start for one in inputs])
        at, sequences = positions(lengths, start)
        last = np.zeros(len(at), bool)
        last[lengths.cumsum() - 1] = True
        tokens = np.concatenate([one[start:] for one in inputs])
        context.run(tokens[~last], at[~last], sequences[~last], outputs=False)
        context.run(tokens[last], at[last], sequences[last])
        return [row[None] for row in context.rows(len(inputs)).copy()]

    def _in_chunks(self, context: Context, text: Ids | Rows) -> Rows:
        """Compute a long input chunk by chunk; with pooling `last` only its end has outputs."""
        first_output = len(text) - LAST_CHUNK if self._pooling == "last" else 0
        rows = []
        for start, stop in [*chunks(0, first_output), *chunks(first_output, len(text))]:
            at = np.arange(start, stop, dtype=np.int32)
            context.run(text[start:stop], at, np.zeros_like(at), outputs=start >= first_output)
            if start >= first_output:
                rows.append(context.rows(stop - start)[-1 if self._pooling == "last" else 0 :].copy())
        return np.concatenate(rows)

    def _context_for(self, tokens: int, sequences: int) -> Context:
        """Return a context that is large enough; a new one is never smaller than the one it replaces."""
        if tokens > TOKENS_PER_CALL:
            if self._long is None or self._long.tokens < tokens:
                if self._long is not None:
                    self._long.close()
                    self._long = None
                self._long = self._context(context_size(tokens), 1, flash=True, chunked=self._causal)
            return self._long
        if self._short.tokens < tokens or self._short.sequences < sequences:
            tokens = FIRST_CONTEXT if max(tokens, self._short.tokens) <= FIRST_CONTEXT else TOKENS_PER_CALL
            sequences = power_of_two(max(sequences, self._short.sequences))
            self._short.close()  # stays, without room, when there is no memory for the next
            self._short = self._context(tokens, sequences)
        return self._short

    def _context(self, tokens: int, sequences: int, flash: bool = False, chunked: bool = False) -> Context:
        return Context(
            self._open(), tokens, sequences, self._threads, flash=flash, causal=self._attention, chunked=chunked
        )


def load(
    folder: Path,
    spec: ModelSpec,
    weights: Weights,
    threads: int,
    adapters: Mapping[str, Path] = MappingProxyType({}),
) -> GgufBackend:
    """Open the first file of the weights, memory-mapped; llama.cpp finds the other parts of a split model."""
    check_no_adapters(adapters, weights)
    return GgufBackend(folder / weights.files[0].path, spec, threads)


def load_images(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> NoReturn:
    """Raise UnsupportedModelError: the image part beside a GGUF file is converted to ONNX."""
    raise UnsupportedModelError(f"{folder}: {weights.name} is an image part, which llama.cpp cannot run here: use ONNX")


def _check(index: int, ids: Ids, model: Model) -> None:
    """Refuse what llama.cpp would abort the process for."""
    if not 0 < len(ids) <= model.context_length:
        raise InputError(f"input {index} has {len(ids)} tokens; the model takes 1 to {model.context_length}")
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= model.vocabulary_size:
        raise InputError(
            f"input {index} has token id {low if low < 0 else high}; the model has 0 to {model.vocabulary_size - 1}: "
            "its tokenizer belongs to another model"
        )
