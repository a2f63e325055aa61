"""One context of llama.cpp: its buffers, and the call that fills and runs them. Knows no policy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_embed.device.pages import release_pages
from edge_embed.errors import BackendError, OutOfMemoryError

from . import CHUNK
from .log import captured_warnings, last
from .memory import check_memory
from .model import Model
from .runtime import llama_cpp

Ids = NDArray[np.int32]
Rows = NDArray[np.float32]
FAILURES = {
    1: "found no room in its memory for the batch",
    2: "was interrupted",
    -1: "refused the batch",
    -2: "could not allocate memory",
    -3: "failed to compute",
}


class Context:
    """Room for a call of `tokens` tokens in `sequences` sequences.

    `flash` takes the attention that needs no S x S buffer and rounds keys and values to float16; else all is float32.
    `causal` None leaves the attention to the model's file. `chunked`: a longer batch than CHUNK is never run.
    Raises OutOfMemoryError when memory does not suffice.
    """

    def __init__(
        self,
        model: Model,
        tokens: int,
        sequences: int,
        threads: int,
        *,
        flash: bool,
        causal: bool | None,
        chunked: bool,
    ) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_seq_max = tokens, sequences
        params.n_batch = params.n_ubatch = min(tokens, CHUNK) if chunked else tokens
        params.n_threads = params.n_threads_batch = threads
        params.embeddings, params.pooling_type = True, llama_cpp.LLAMA_POOLING_TYPE_NONE
        params.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F16 if flash else llama_cpp.GGML_TYPE_F32
        params.kv_unified = params.no_perf = True
        if causal is not None:
            kind = "CAUSAL" if causal else "NON_CAUSAL"
            params.attention_type = getattr(llama_cpp, f"LLAMA_ATTENTION_TYPE_{kind}")
        with captured_warnings() as lines:
            self._handle = llama_cpp.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise OutOfMemoryError(
                f"llama.cpp has no memory for a context of {tokens} tokens: pass a smaller max_tokens; {last(lines)}"
            )
        self.tokens, self.sequences, self._model = tokens, sequences, model
        self._memory = llama_cpp.llama_get_memory(self._handle)
        self._outputs, self._zeroed = sequences, True  # rows in the output buffer; whether its pages are new
        self._prefix = b""  # ids whose keys and values every sequence begins with
        self._fill(int(params.n_batch))

    @property
    def has_memory(self) -> bool:
        """Whether the model keeps keys and values between calls; encoders do not."""
        return bool(self._memory)

    def _fill(self, room: int) -> None:
        """Make the arrays that a batch points to; they are written in place for each call."""
        self._one, self._position = np.ones(room, np.int32), np.empty(room, np.int32)
        self._output = np.empty(room, np.int8)
        self._names = np.arange(self.sequences, dtype=np.int32)
        self._sequence = np.empty(room, np.uintp)  # where in `_names` each token's sequence is written
        self._batch: Any = llama_cpp.llama_batch()
        self._no_ids, self._no_rows = ctypes.POINTER(ctypes.c_int32)(), ctypes.POINTER(ctypes.c_float)()
        ints = ctypes.POINTER(ctypes.c_int32)
        fields: dict[str, Any] = {
            "pos": self._position.ctypes.data_as(ints),
            "n_seq_id": self._one.ctypes.data_as(ints),
            "logits": self._output.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
            "seq_id": self._sequence.ctypes.data_as(ctypes.POINTER(ints)),
        }
        for name, pointer in fields.items():
            setattr(self._batch, name, pointer)

    def clear(self) -> None:
        """Forget the sequences of the last call, prefix and all."""
        if self._memory:
            llama_cpp.llama_memory_clear(self._memory, False)
        self._prefix = b""

    def begin(self, prefix: Ids) -> None:
        """Forget the sequences of the last call but for the prefix of each, which is computed if it is another one."""
        if self._prefix != prefix.tobytes():
            self.clear()
            positions = np.arange(len(prefix), dtype=np.int32)
            self.run(prefix, positions, np.zeros_like(positions), outputs=False)
            for sequence in range(1, self.sequences):
                llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, 0, len(prefix))
            self._prefix = prefix.tobytes()
        elif not llama_cpp.llama_memory_seq_rm(self._memory, -1, len(prefix), -1):
            raise BackendError("llama.cpp cannot forget the end of a sequence: this model's memory is of another kind")

    def run(self, inputs: Ids | Rows, positions: Ids, sequences: Ids, outputs: bool = True) -> None:
        """Compute ids (n,), or rows (n, dim) in the place of their embeddings, each at its position of its sequence.

        `rows` has the result where `outputs`.
        """
        n = len(inputs)
        self._position[:n], self._output[:n] = positions, outputs
        self._point(inputs)
        self._sequence[:n] = self._names.ctypes.data + self._names.itemsize * sequences.astype(np.uintp)
        self._batch.n_tokens = n
        if outputs and n > self._outputs:
            check_memory(4 * n * self._model.vocabulary_size, n)
            self._outputs, self._zeroed = n, True
        llama_cpp.llama_set_embeddings(self._handle, outputs)
        with captured_warnings() as lines:
            failure = llama_cpp.llama_decode(self._handle, self._batch)
        if failure:
            raise BackendError(f"llama.cpp {FAILURES.get(failure, f'gave code {failure}')} ({n} tokens); {last(lines)}")

    def _point(self, inputs: Ids | Rows) -> None:
        """Let the batch point to ids or to rows, and not to both."""
        self._given = np.ascontiguousarray(inputs)  # lives until the next call
        pointer = self._given.ctypes.data_as
        if inputs.ndim == 1:
            self._batch.token, self._batch.embd = pointer(ctypes.POINTER(ctypes.c_int32)), self._no_rows
        else:
            self._batch.token, self._batch.embd = self._no_ids, pointer(ctypes.POINTER(ctypes.c_float))

    def rows(self, count: int) -> NDArray[np.float32]:
        """Return the hidden states (count, dim) of the last `run`, as llama.cpp holds them: copy before the next."""
        found = llama_cpp.llama_get_embeddings(self._handle)
        if not found:
            raise BackendError("llama.cpp gave no hidden states: this model cannot embed")
        return _view(ctypes.addressof(found.contents), (count, self._model.dim))

    def shrink(self) -> None:
        """Give back the memory of scores over the vocabulary, which an encoder has none of; call after reading `rows`.

        llama.cpp zero-fills room for them (0.5 MB a token for 128,256 tokens) whenever the number of outputs grows.
        """
        if self._zeroed:
            self._zeroed = False
            found = llama_cpp.llama_get_logits(self._handle)
            release_pages(ctypes.addressof(found.contents), 4 * self._outputs * self._model.vocabulary_size)

    def close(self) -> None:
        """Free the context; it has room for nothing after."""
        if self._handle is not None:
            llama_cpp.llama_free(self._handle)
            self._handle = self._memory = None
            self.tokens = self.sequences = 0


class _Pointer:
    def __init__(self, address: int, shape: Sequence[int]) -> None:
        self.__array_interface__ = {"data": (address, True), "shape": tuple(shape), "typestr": "<f4", "version": 3}


def _view(address: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """View C memory as an array; ctypes would keep a new type for every shape, for ever."""
    return np.asarray(_Pointer(address, shape))
