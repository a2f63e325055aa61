"""Weights that llama.cpp has loaded, and the vocabulary of a GGUF file. Knows no batches."""

from __future__ import annotations

import atexit
import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from edge_embed.errors import CorruptModelError, MissingDependencyError, UnsupportedModelError
from edge_embed.formats.gguf import Array, Header, parts_of, read_header
from edge_embed.formats.gguf_dense import holds_dense
from edge_embed.remedies.installing import install_package
from edge_embed.spec.model import ModelSpec

from . import amx
from .checks import check_model, check_vocabulary
from .log import captured_warnings, last
from .memory import MappedFiles
from .runtime import llama_cpp

PINNED = "0.3.36"
SPECIAL = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
FLOATS = (0, 1, 30)  # types of ggml that it never repacks: F32, F16, BF16


def _close_at_exit() -> None:
    """Close what llama_cpp opens when it is imported and never closes, of which Python warns at its end."""
    for name in ("outnull_file", "errnull_file"):
        file = getattr(getattr(llama_cpp, "_utils", None), name, None)
        if file is not None:
            atexit.register(file.close)


_close_at_exit()


def check_version(found: str = llama_cpp.__version__) -> None:
    """Raise MissingDependencyError unless the binding is the one release whose structs and limits this code knows."""
    if found != PINNED:
        raise MissingDependencyError(
            f"llama-cpp-python {found} is installed, edge_embed needs {PINNED}: its structs and assertions differ from "
            f"release to release, and a wrong one crashes the process: {install_package(f'llama-cpp-python=={PINNED}')}"
        )


class Model:
    """A model of llama.cpp: where it is, what it says of itself, and how to free it."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        check_version()
        header = read_header(path)
        check_model(header)
        self.holds_dense = holds_dense(header)
        size = _vocabulary_size(header)
        self.path = path
        # Without its vocabulary (we have our own tokenizer, or open it apart) a model loads in a quarter of the time.
        overrides: dict[str, str | int] = {} if size is None else {f"{header.architecture}.vocab_size": size}
        if overrides:
            overrides["tokenizer.ggml.model"] = "no_vocab"
        self.handle = _load(path, overrides, quantized=any(t.type not in FLOATS for t in header.tensors.values()))
        try:
            self.vocabulary_size = int(llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.handle)))
            self.context_length = int(llama_cpp.llama_model_n_ctx_train(self.handle))
            self.dim = int(llama_cpp.llama_model_n_embd_out(self.handle))
            self.causal = header.causal
            self._check(spec)
        except BaseException:
            self.close()
            raise

    def _check(self, spec: ModelSpec) -> None:
        """Refuse what would abort the process or give vectors of another model."""
        handle = self.handle
        kinds = {
            "an encoder-decoder": llama_cpp.llama_model_has_encoder(handle),
            "recurrent": llama_cpp.llama_model_is_recurrent(handle) or llama_cpp.llama_model_is_hybrid(handle),
            "a diffusion model": llama_cpp.llama_model_is_diffusion(handle),
        }
        if odd := [kind for kind, true in kinds.items() if true]:
            raise UnsupportedModelError(f"{self.path} is {odd[0]}, which cannot embed here: give an embedding model")
        if self.dim != spec.width:
            raise CorruptModelError(
                f"{self.path} has {self.dim} dimensions, the model's description says {spec.width}: they do not belong "
                "together"
            )
        if spec.max_tokens > self.context_length:
            raise CorruptModelError(
                f"{self.path} has a context of {self.context_length} tokens, the model's description says "
                f"{spec.max_tokens}: pass max_tokens={self.context_length}"
            )

    def close(self) -> None:
        """Free the weights; contexts must be freed before."""
        if self.handle is not None:
            llama_cpp.llama_model_free(self.handle)
            self.handle = None


class Vocabulary:
    """The tokenizer inside a GGUF file, for models that come without a `tokenizer.json`."""

    def __init__(self, path: Path) -> None:
        check_version()
        check_vocabulary(read_header(path))
        self._handle = _load(path, {}, vocabulary_only=True)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._handle)
        self.size = int(llama_cpp.llama_vocab_n_tokens(self._vocabulary))
        if llama_cpp.llama_vocab_type(self._vocabulary) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            self.close()
            raise UnsupportedModelError(f"{path} has no vocabulary: put the model's tokenizer.json beside it")

    def encode(self, text: str, special: bool = True, add: bool = True) -> list[int]:
        """Return the ids of a text; `special`: what spells a special token becomes one, as `tokenizers` has it."""
        data = text.encode()
        # A token a byte, and those that are added around the text; a vocabulary without a token for blanks, which
        # SentencePiece writes in three bytes, makes three of each.
        for size in (len(data) + 8, 3 * len(data) + 16):
            ids = np.empty(size, np.int32)
            buffer = ids.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token))
            count = llama_cpp.llama_tokenize(self._vocabulary, data, len(data), buffer, size, add, special)
            if count >= 0:
                return [int(token) for token in ids[:count]]
        raise CorruptModelError(f"the vocabulary makes {-count} tokens of {len(data)} bytes")

    def special_tokens(self, text: str) -> set[str]:
        """Return the special tokens that a text spells: those of its ids that are no words, by their names."""
        found = {
            llama_cpp.llama_vocab_get_text(self._vocabulary, token).decode("utf-8", "replace")
            for token in set(self.encode(text, add=False))
            if llama_cpp.llama_vocab_get_attr(self._vocabulary, token) & SPECIAL
        }
        return {name for name in found if name and name in text}

    def close(self) -> None:
        """Free the vocabulary."""
        if self._handle is not None:
            llama_cpp.llama_model_free(self._handle)
            self._handle = self._vocabulary = None


def _load(
    path: Path, overrides: dict[str, str | int], *, vocabulary_only: bool = False, quantized: bool = False
) -> Any:
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = vocabulary_only
    entries = (llama_cpp.llama_model_kv_override * (len(overrides) + 1))()  # the last, empty, ends the list
    for entry, (key, value) in zip(entries, overrides.items(), strict=False):
        entry.key = key.encode()
        if isinstance(value, str):
            entry.tag, entry.value.val_str = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()
        else:
            entry.tag, entry.value.val_i64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT, value
    if overrides:
        params.kv_overrides = entries
    if quantized:
        params.use_extra_bufts = amx.is_sound()
        files = MappedFiles(parts_of(path))
        params.progress_callback = llama_cpp.llama_progress_callback(lambda progress, _: files.release(progress))
    with captured_warnings() as lines:
        handle = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if handle:
        return handle
    if any("unknown model architecture" in line for line in lines):
        raise UnsupportedModelError(f"{path}: this llama.cpp does not know the model's architecture; {last(lines)}")
    raise CorruptModelError(f"llama.cpp cannot load {path}; {last(lines)}")


def _vocabulary_size(header: Header) -> int | None:
    """Return how many tokens the file lists; None when it lists none."""
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, Array):
        return tokens.length
    return len(tokens) if isinstance(tokens, list) else None
