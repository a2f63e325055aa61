"""llama.cpp through the C API of llama-cpp-python, at one pinned release: ids in, hidden states out.

How a text is computed depends on its own length, never on its company. llama.cpp's flash attention on the CPU rounds
keys and values to float16, and for calls of fewer than 64 tokens sums in float16 as well, so that a short text alone
differs from the same among others. Here texts of up to 256 tokens share calls with the plain attention, float32
throughout; longer ones go alone, with flash attention. So does a text with a picture among its tokens, all of it as
rows, since llama.cpp takes ids or rows in a call: with a piece of ids after the picture, flash attention would have too
few queries (TAIL).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from edge_embed.backends import Batch, Inserted, Rows
from edge_embed.errors import BackendError, InputError, UnsupportedModelError
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

from .calls import TOGETHER, calls, pieces, places, room_for, rounded
from .context import Context, Ids
from .model import Model, Vocabulary
from .table import Table

SMALL = 64  # tokens of the context that a model begins with: a query needs no more
ONE_CALL = 64  # tokens up to which a second call costs more than the scores over the vocabulary that it saves
TAIL = 64  # tokens; flash attention on float16 keys sums in float32 from so many queries on
# Tokens of a prompt from which on computing them once pays. Qwen3 of v5-text-small's shape at Q8_0, CPU time of whole
# texts over that with the prompt kept: 30 of 50 tokens 2.0 for one text and 2.3 for 32; 5 of 40, which are E5-V's, 1.0
# and 1.24; 16 of 80, 16 texts, 1.17; 2 of 20, "Query: ", 0.94 and 1.05.
SHARED = 4
NONE = np.empty(0, np.int32)
LARGE = 4096  # tokens; the context of such a text is freed after it


class GgufBackend:
    """One GGUF model; a context for texts that share calls, and one for a long text."""

    engine = f"llama-cpp-python {llama_cpp.__version__}"

    def __init__(self, path: Path, spec: ModelSpec, threads: int) -> None:
        self._lock = threading.Lock()
        self._threads, self._pooling = threads, spec.pooling
        self._attention = None if spec.attention is None else spec.attention == "causal"
        self._long: Context | None = None
        self._vocabulary: Vocabulary | None = None
        self._table: Table | None = None
        self._model: Model | None = Model(path, spec)
        try:
            self._short = self._context(SMALL, 1)
            self._memory = self._short.has_memory
            if not self._memory and self._attention:
                raise UnsupportedModelError(
                    f"{path}: the model's description says causal attention, its architecture is an encoder's"
                )
        except BaseException:
            self.close()
            raise
        causal = self._model.causal if self._attention is None else self._attention
        self._causal = self._memory and causal

    def forward(self, batch: Batch) -> list[Rows]:
        """Run the inputs in as few calls as there may be; raise InputError for ids that the model does not have."""
        with self._lock:
            model = self._open()
            for index, ids in enumerate(batch.ids):
                _check(index, ids, model)
            out: list[Rows] = [np.empty((0, 0), np.float32)] * len(batch.ids)
            pictures = {n: inserted for n, inserted in enumerate(batch.inserted) if inserted is not None}
            for n, inserted in pictures.items():
                out[n] = self._call([self._embedded(n, batch.ids[n], inserted)], NONE)[0]
            texts = [n for n in range(len(batch.ids)) if n not in pictures]
            prefix = self._prefix(batch)
            for call in calls([len(batch.ids[n]) for n in texts], len(prefix)):
                chosen = [texts[n] for n in call]
                for n, rows in zip(chosen, self._call([batch.ids[n] for n in chosen], prefix), strict=True):
                    out[n] = rows
            return out

    def encode_text(self, text: str) -> list[int]:
        """Return a text's ids by the vocabulary inside the file; raise UnsupportedModelError when it has none."""
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = Vocabulary(self._open().path)
            return self._vocabulary.encode(text)

    def close(self) -> None:
        """Free contexts, weights and vocabulary; calls that are running finish first."""
        with self._lock:
            for owned in (getattr(self, "_short", None), self._long, self._vocabulary, self._model):
                if owned is not None:
                    owned.close()
            self._long = self._vocabulary = self._model = self._table = None

    def _open(self) -> Model:
        if self._model is None:
            raise BackendError("this model was closed")
        return self._model

    def _prefix(self, batch: Batch) -> Ids:
        """Return the ids of every text that are computed once, for all batches that begin so; none where all are."""
        useful = self._causal and self._pooling == "last" and batch.shared >= SHARED
        return batch.ids[0][: batch.shared] if useful and not any(batch.inserted) else NONE

    def _embedded(self, index: int, ids: Ids, inserted: Inserted) -> Rows:
        """Return what the model reads: the embeddings of the ids, and the picture's rows in their places."""
        if self._table is None:
            self._table = Table(self._open().path)
        rows, stop = self._table(ids), inserted.at + len(inserted.rows)
        if not 0 <= inserted.at < stop <= len(ids) or inserted.rows.shape[1:] != rows.shape[1:]:
            raise InputError(
                f"input {index} of {rows.shape} has a picture's rows {inserted.rows.shape} at {inserted.at}: they do "
                "not belong there"
            )
        rows[inserted.at : stop] = inserted.rows
        return rows

    def _call(self, inputs: Sequence[Ids | Rows], prefix: Ids) -> list[Rows]:
        """Compute inputs that share a call: ids (tokens,), or embeddings (tokens, dim) of one input alone."""
        shared = len(prefix)
        tokens = shared + sum(len(one) - shared for one in inputs)
        context = self._room(tokens, len(inputs))
        try:
            if tokens > TOGETHER:
                context.clear()
                return [self._in_steps(context, inputs[0])] if self._causal else self._whole(context, inputs, 0)
            if shared:
                context.begin(prefix)
            else:
                context.clear()
            if self._causal and self._pooling == "last" and tokens - shared > ONE_CALL:
                return self._last_apart(context, inputs, shared)
            return self._whole(context, inputs, shared)
        finally:
            if context is self._long and tokens > LARGE:
                self._long = None
                context.close()

    def _whole(self, context: Context, inputs: Sequence[Ids | Rows], shared: int) -> list[Rows]:
        """Compute every token but those that are `shared` in one call."""
        lengths = np.array([len(one) - shared for one in inputs])
        context.run(np.concatenate([one[shared:] for one in inputs]), *places(lengths, shared))
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

    def _last_apart(self, context: Context, inputs: Sequence[Ids | Rows], shared: int) -> list[Rows]:
        """Compute all but the last tokens without outputs, which saves their scores over the vocabulary; then those."""
        lengths = np.array([len(one) - shared for one in inputs])
        positions, sequences = places(lengths, shared)
        last = np.zeros(len(positions), bool)
        last[lengths.cumsum() - 1] = True
        tokens = np.concatenate([one[shared:] for one in inputs])
        context.run(tokens[~last], positions[~last], sequences[~last], outputs=False)
        context.run(tokens[last], positions[last], sequences[last])
        return [row[None] for row in context.rows(len(inputs)).copy()]

    def _in_steps(self, context: Context, one: Ids | Rows) -> Rows:
        """Compute a long input piece by piece; with pooling `last` only the end has outputs."""
        quiet = len(one) - TAIL if self._pooling == "last" else 0
        rows = []
        for start, stop in [*pieces(0, quiet), *pieces(quiet, len(one))]:
            positions = np.arange(start, stop, dtype=np.int32)
            context.run(one[start:stop], positions, np.zeros_like(positions), outputs=start >= quiet)
            if start >= quiet:
                rows.append(context.rows(stop - start)[-1 if self._pooling == "last" else 0 :].copy())
        return np.concatenate(rows)

    def _room(self, tokens: int, sequences: int) -> Context:
        """Return a context that is large enough; a new one is never smaller than the one it replaces."""
        if tokens > TOGETHER:
            if self._long is None or self._long.tokens < tokens:
                if self._long is not None:
                    self._long.close()
                    self._long = None
                self._long = self._context(room_for(tokens), 1, flash=True, steps=self._causal)
            return self._long
        if self._short.tokens < tokens or self._short.sequences < sequences:
            tokens = SMALL if max(tokens, self._short.tokens) <= SMALL else TOGETHER
            sequences = rounded(max(sequences, self._short.sequences))
            self._short.close()  # stays, without room, when there is no memory for the next
            self._short = self._context(tokens, sequences)
        return self._short

    def _context(self, tokens: int, sequences: int, flash: bool = False, steps: bool = False) -> Context:
        return Context(self._open(), tokens, sequences, self._threads, flash=flash, causal=self._attention, steps=steps)


def load(folder: Path, spec: ModelSpec, weights: Weights, threads: int) -> GgufBackend:
    """Open the first file of the weights, memory-mapped; llama.cpp finds the other parts of a split model."""
    return GgufBackend(folder / weights.files[0].path, spec, threads)


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
