"""How much memory llama.cpp takes for a model: weights, keys and values, buffers, and scores over the vocabulary."""

from __future__ import annotations

from edge_embed.backends.footprint import MLP_COPIES, Footprint, Model
from edge_embed.backends.gguf import CHUNK, LAST_CHUNK, TOKENS_PER_CALL
from edge_embed.errors import CorruptModelError
from edge_embed.formats.gguf import ENCODERS, Header, read_header
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.values import plausible
from edge_embed.spec.weights import Weights

COPIES = 3  # buffers of the model's width that are alive at once, for each token
TABLE = "token_embd.weight"


def footprint(model: Model, weights: Weights, tokens: int, longest: int) -> Footprint:
    """Predict what a model takes for a batch of `tokens` tokens whose longest text has `longest`.

    Texts up to TOKENS_PER_CALL tokens share calls, longer ones go by CHUNK, with outputs for LAST_CHUNK.
    """
    paths = [model.header(file.path) for file in weights.files]
    headers = [read_header(path) for path in paths]
    table = next((header.tensors[TABLE] for header in headers if TABLE in header.tensors), None)
    if table is None or len(table.shape) < 2:
        raise CorruptModelError(f"{paths[0]} has no {TABLE} of rows and columns: get another file")
    layers, width, kv_width = _shape(headers[0], model.spec)
    vocabulary = table.shape[1]
    per_token = 4 * (MLP_COPIES * width + COPIES * model.spec.width)
    together = min(tokens, TOKENS_PER_CALL)
    long = longest if longest > TOKENS_PER_CALL else 0
    size = sum(path.stat().st_size for path in paths)  # what is repacked is let go of
    keys = layers * kv_width * 2  # numbers that a token leaves behind, where the architecture is no encoder's
    if model.spec.attention == "causal":
        outputs = LAST_CHUNK * vocabulary * 4 * (2 if long else 1)  # scores over the vocabulary, and their copy
        kv = keys * max(4 * together, 2 * _power_of_two(long))
        compute = per_token * min(tokens, CHUNK)
        return Footprint(weights=size, kv=kv, compute=compute, output=outputs + LAST_CHUNK * per_token)
    called = max(together, _power_of_two(long))
    kv = 0 if headers[0].architecture in ENCODERS else keys * max(4 * together, 2 * _power_of_two(long))
    return Footprint(weights=size, kv=kv, compute=per_token * called, output=4 * vocabulary * max(together, long))


def _shape(header: Header, spec: ModelSpec) -> tuple[int, int, int]:
    """Return layers, the MLP's width, and the width of the keys."""
    architecture = header.metadata.get("general.architecture")

    def number(key: str, default: int) -> int:
        return plausible(header.metadata.get(f"{architecture}.{key}"), default)

    heads = number("attention.head_count", 1)
    size = number("attention.key_length", spec.width // heads)
    keys = number("attention.head_count_kv", heads) * size
    return number("block_count", 1), number("feed_forward_length", 4 * spec.width), keys


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length() if count else 0
