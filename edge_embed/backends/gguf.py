"""llama.cpp through the C API of llama-cpp-python, at one pinned release: ids in, hidden states out.

How a text is computed depends on its own length, never on its company. llama.cpp's flash attention on the CPU rounds
keys and values to float16, and for calls of fewer than 64 tokens sums in float16 as well, so that a short text alone
differs from the same among others. Here texts of up to 256 tokens share calls with the plain attention, float32
throughout; longer ones go alone, with flash attention.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, InputError, UnsupportedModelError
from ..spec import ModelSpec, Weights
from . import Batch, Rows
from ._llama_context import STEP, Context, Ids
from ._llama_model import Model, Vocabulary

# Tokens in a call of several texts; a longer text has a call of its own. On v5-text-nano's shape, 8 x 64 tokens: plain
# attention ran 481, 451, 401 tokens a CPU second for 128, 256, 512 a call, flash attention 484; 24 x 20: 422, 478, 431,
# 496.
TOGETHER = 256
SEQUENCES = 64  # texts in a call
SMALL = 64  # tokens of the context that a model begins with: a query needs no more
ONE_CALL = 64  # tokens up to which a second call costs more than the scores over the vocabulary that it saves
TAIL = 64  # tokens; flash attention on float16 keys sums in float32 from so many queries on
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
            for call in _calls([len(ids) for ids in batch.ids]):
                for n, rows in zip(call, self._call([batch.ids[n] for n in call]), strict=True):
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
            self._long = self._vocabulary = self._model = None

    def _open(self) -> Model:
        if self._model is None:
            raise BackendError("this model was closed")
        return self._model

    def _call(self, ids: Sequence[Ids]) -> list[Rows]:
        tokens = sum(map(len, ids))
        context = self._room(tokens, len(ids))
        try:
            context.clear()
            if not self._causal:
                return self._whole(context, ids)
            if tokens > TOGETHER:
                return [self._in_steps(context, ids[0])]
            if self._pooling == "last" and tokens > ONE_CALL:
                return self._last_apart(context, ids)
            return self._whole(context, ids)
        finally:
            if context is self._long and tokens > LARGE:
                self._long = None
                context.close()

    def _whole(self, context: Context, ids: Sequence[Ids]) -> list[Rows]:
        """Compute every token in one call."""
        lengths = np.array([len(row) for row in ids])
        context.run(np.concatenate(ids), *_places(lengths))
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

    def _last_apart(self, context: Context, ids: Sequence[Ids]) -> list[Rows]:
        """Compute all but the last tokens without outputs, which saves their scores over the vocabulary; then those."""
        lengths = np.array([len(row) for row in ids])
        positions, sequences = _places(lengths)
        last = np.zeros(len(positions), bool)
        last[lengths.cumsum() - 1] = True
        tokens = np.concatenate(ids)
        context.run(tokens[~last], positions[~last], sequences[~last], outputs=False)
        context.run(tokens[last], positions[last], sequences[last])
        return [row[None] for row in context.rows(len(ids)).copy()]

    def _in_steps(self, context: Context, ids: Ids) -> Rows:
        """Compute a long text piece by piece; with pooling `last` only the end has outputs."""
        quiet = len(ids) - TAIL if self._pooling == "last" else 0
        rows = []
        for start, stop in [*_pieces(0, quiet), *_pieces(quiet, len(ids))]:
            positions = np.arange(start, stop, dtype=np.int32)
            context.run(ids[start:stop], positions, np.zeros_like(positions), outputs=start >= quiet)
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
                self._long = self._context(_rounded(tokens), 1, flash=True, steps=self._causal)
            return self._long
        if self._short.tokens < tokens or self._short.sequences < sequences:
            tokens = SMALL if max(tokens, self._short.tokens) <= SMALL else TOGETHER
            sequences = _rounded(max(sequences, self._short.sequences))
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


def _calls(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Group texts, in order, into calls of at most TOGETHER tokens and SEQUENCES texts; longer ones go alone."""
    call: list[int] = []
    tokens = 0
    for n, length in enumerate(lengths):
        if length > TOGETHER:
            yield [n]
            continue
        if tokens + length > TOGETHER or len(call) == SEQUENCES:
            yield call
            call, tokens = [], 0
        call.append(n)
        tokens += length
    if call:
        yield call


def _places(lengths: NDArray[np.int64]) -> tuple[Ids, Ids]:
    """Return each token's position in its text, and the number of its text."""
    sequences = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    starts = np.repeat(lengths.cumsum() - lengths, lengths)
    return (np.arange(len(starts)) - starts).astype(np.int32), sequences


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    return [(at, min(at + STEP, stop)) for at in range(start, stop, STEP)]


def _rounded(count: int) -> int:
    """Round up to a power of two, so that contexts come in a few sizes."""
    return 1 << (count - 1).bit_length()
