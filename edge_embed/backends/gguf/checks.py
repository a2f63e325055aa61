"""What llama.cpp asserts of a file and ends the process for: checked here first, so that it becomes an error.

Read from llama.cpp as llama-cpp-python 0.3.36 packs it: llama-model.cpp (load_hparams), llama-vocab.cpp, models/*.cpp.
What it refuses by itself, such as tensors of other shapes than the numbers say, is left to it.
"""

from __future__ import annotations

import numpy as np

from edge_embed.errors import CorruptModelError, listing
from edge_embed.formats.gguf import Array, Header, read_numbers, read_strings

from .charsmap import fault_of

MOST_LAYERS, MOST_EXPERTS = 512, 1024
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
FLOAT32 = 0
BYTE = 6  # the type of a token that stands for a byte which no other has
NO_WEIGHTS = {24, 25, 26, 27, 28}  # types of ggml that are whole numbers, or float64
# Architectures whose keys turn by all of their width, and whose keys and values are equally wide.
WHOLE_ROPE = {"llama", "llama-embed", "mistral3", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma-embedding"}
EQUAL_WIDTHS = WHOLE_ROPE | {
    "bert",
    "eurobert",
    "jina-bert-v2",
    "jina-bert-v3",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
}
# Encoders in some of whose layers a token attends to neighbours: every so many layers there is one in which it attends
# to all, the first of them or the last.
WINDOWED = {"gemma-embedding": (6, False), "modern-bert": (3, True)}
# Tokens that a tokenizer puts around a text, and their ids where the file does not say, if there are as many tokens.
AROUND = {
    "bert": {"bos": 101, "seperator": 102},
    "gpt2": {"bos": 11, "eos": 11},
    "llama": {"bos": 1, "eos": 2},
    "t5": {"eos": 1},
}


def check_model(header: Header) -> None:
    """Refuse numbers and tensors of a model that llama.cpp would abort on; raise CorruptModelError that names them."""
    kind = header.architecture
    layers = header.whole(f"{kind}.block_count")
    _need(layers <= MOST_LAYERS, header, f"{kind}.block_count", f"at most {MOST_LAYERS}")
    nextn = header.whole(f"{kind}.nextn_predict_layers", 0, least=0)
    _need(nextn <= layers, header, f"{kind}.nextn_predict_layers", f"at most {layers}")
    scaling = header.metadata.get(f"{kind}.rope.scaling.type", ROPE_SCALINGS[0])
    _need(scaling in ROPE_SCALINGS, header, f"{kind}.rope.scaling.type", f"one of {listing(ROPE_SCALINGS)}")
    for key in ("attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "attention.max_alibi_bias"):
        header.real(f"{kind}.{key}", 0.0)
    _need(header.real(f"{kind}.rope.freq_base", 1e4) > 0, header, f"{kind}.rope.freq_base", "above 0")
    _check_experts(header, kind)
    _check_heads(header, kind, layers)
    if kind in WINDOWED:
        _check_windows(header, kind, layers)
    _check_types(header)


def check_vocabulary(header: Header) -> None:
    """Refuse a vocabulary that llama.cpp would abort on, at opening or at a text; raise CorruptModelError."""
    key = "tokenizer.ggml.tokens"
    tokens = [token or b"[EMPTY_%d]" % n for n, token in enumerate(read_strings(header, key))]
    known = set(tokens)
    if len(known) < len(tokens):
        seen: set[bytes] = set()
        twice = next(token for token in tokens if token in seen or seen.add(token))  # type: ignore[func-returns-value]
        raise CorruptModelError(
            f"{header.path}: {key} lists {twice.decode('utf-8', 'replace')!r} twice: get another file"
        )
    model = header.metadata.get("tokenizer.ggml.model")
    if model == "bert" and BYTE in read_numbers(header, "tokenizer.ggml.token_type"):
        raise CorruptModelError(
            f"{header.path}: tokenizer.ggml.token_type has tokens for single bytes, which WordPiece has not: get "
            "another file"
        )
    if model == "t5":
        _check_characters(header)
    around = dict(AROUND.get(str(model), {}))
    if model == "t5" and header.metadata.get("tokenizer.ggml.add_bos_token") is True:
        around["bos"] = len(tokens)  # of which there is no usual id
    for name, usual in around.items():
        stated = header.metadata.get(f"tokenizer.ggml.{name}_token_id")
        if usual >= len(tokens) and not (isinstance(stated, int) and 0 <= stated < len(tokens)):
            raise CorruptModelError(
                f"{header.path}: tokenizer.ggml.{name}_token_id={stated!r:.80} is none of {len(tokens)} tokens: get "
                "another file"
            )
    if model == "llama" and any(b"<0x%02X>" % n not in known and bytes([n]) not in known for n in range(256)):
        raise CorruptModelError(f"{header.path}: {key} lacks tokens for single bytes, '<0x00>' to '<0xFF>'")


def _check_characters(header: Header) -> None:
    """Refuse a SentencePiece map of characters with a fault for which llama.cpp would end the process at a text."""
    key = "tokenizer.ggml.precompiled_charsmap"
    numbers = np.array(read_numbers(header, key))
    if numbers.dtype.kind in "iu" and (fault := fault_of((numbers & 0xFF).astype(np.uint8).tobytes())):
        raise CorruptModelError(f"{header.path}: {key} {fault}: get another file")


def _check_experts(header: Header, kind: str) -> None:
    """Refuse numbers of experts that contradict one another."""
    experts = header.whole(f"{kind}.expert_count", 0, least=0)
    used = header.metadata.get(f"{kind}.expert_used_count", 0)
    most = max(used, default=0) if isinstance(used, list) else used
    groups = header.whole(f"{kind}.expert_group_count", 0, least=0)
    used_groups = header.whole(f"{kind}.expert_group_used_count", 0, least=0)
    _need(experts <= MOST_EXPERTS, header, f"{kind}.expert_count", f"at most {MOST_EXPERTS}")
    fits = isinstance(most, int) and (0 < most <= experts if experts else most == 0)
    _need(fits, header, f"{kind}.expert_used_count", f"a share of {experts} experts")
    if groups > 1 or not experts:
        fits = experts % groups == 0 and 0 < used_groups < groups < experts if experts else groups == 0
        _need(fits, header, f"{kind}.expert_group_count", f"groups that share {experts} experts")


def _check_heads(header: Header, kind: str, layers: int) -> None:
    """Refuse heads that do not share the width, or that are of other widths than the architecture computes with."""
    size = header.whole(f"{kind}.embedding_length")
    header.whole(f"{kind}.context_length")
    for heads, key_heads in zip(
        _of_layers(header, f"{kind}.attention.head_count", layers, None),
        _of_layers(header, f"{kind}.attention.head_count_kv", layers, f"{kind}.attention.head_count"),
        strict=True,
    ):
        fits = heads == key_heads == 0 or (heads > 0 and key_heads > 0 and heads % key_heads == 0)
        _need(fits or kind not in EQUAL_WIDTHS, header, f"{kind}.attention.head_count_kv", f"a divisor of {heads}")
    heads = _of_layers(header, f"{kind}.attention.head_count", layers, None)[0]
    if not heads or kind not in EQUAL_WIDTHS:
        return
    default = size // heads
    keys = header.whole(f"{kind}.attention.key_length", default)
    if f"{kind}.attention.key_length" not in header.metadata:
        _need(size % heads == 0, header, f"{kind}.attention.head_count", f"a divisor of {size}")
    _need(
        header.whole(f"{kind}.attention.value_length", default) == keys,
        header,
        f"{kind}.attention.value_length",
        f"{keys}, as the keys are",
    )
    turned = header.whole(f"{kind}.rope.dimension_count", keys)
    fits = turned == keys if kind in WHOLE_ROPE else turned <= keys and turned % 2 == 0
    _need(fits, header, f"{kind}.rope.dimension_count", f"even, and of {keys}")


def _check_windows(header: Header, kind: str, layers: int) -> None:
    """Refuse an encoder with a window that has but one kind of layers: llama.cpp fills the masks of both."""
    key, (usual, first) = f"{kind}.attention.sliding_window_pattern", WINDOWED[kind]
    if not header.whole(f"{kind}.attention.sliding_window", 0, least=0) and kind != "gemma-embedding":
        return
    stated = header.metadata.get(key)
    if isinstance(stated, list | Array):
        kinds = {bool(one) for one in read_numbers(header, key)[:layers]}
    else:
        pattern = header.whole(key, usual, least=0)
        kinds = {not pattern or n % pattern != (0 if first else pattern - 1) for n in range(layers)}
    _need(len(kinds) == 2, header, key, "such that some layers have a window and some have none")


def _of_layers(header: Header, key: str, layers: int, other: str | None) -> list[int]:
    """Return a number of each layer, which the file may state once for all; of `other` where it does not state it."""
    if other is not None and key not in header.metadata:
        key = other
    found = header.metadata.get(key)
    if isinstance(found, list) and len(found) == layers and all(type(one) is int and one >= 0 for one in found):
        return found
    return [header.whole(key, 0, least=0)] * layers


def _check_types(header: Header) -> None:
    """Refuse tensors of types that llama.cpp's operators do not take: norms and biases are float32, nothing whole."""
    for name, tensor in header.tensors.items():
        if tensor.type in NO_WEIGHTS or (len(tensor.shape) < 2 and tensor.type != FLOAT32):
            raise CorruptModelError(
                f"{header.path}: tensor {name!r:.80} of shape {tensor.shape} is of type {tensor.type}, which llama.cpp "
                "cannot compute with there: get another file"
            )


def _need(fits: bool, header: Header, key: str, wanted: str) -> None:
    if not fits:
        raise CorruptModelError(f"{header.path}: {key}={header.metadata.get(key)!r:.80} should be {wanted}")
